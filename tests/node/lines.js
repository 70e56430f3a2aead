// What every program here shares: its settings, and lines of JSON for the test.
'use strict';

// settings is the first argument, a JSON object.
const settings = () => JSON.parse(process.argv[2]);

// tell writes one line for the test.
function tell(what, more) {
  process.stdout.write(JSON.stringify({ on: what, ...more }) + '\n');
}

module.exports = { settings, tell };
