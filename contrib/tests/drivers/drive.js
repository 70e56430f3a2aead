const fs = require('node:fs');

const [action, ...rest] = process.argv.slice(2);
if (action === 'key') {
  console.log(callbackKey(rest[0]));
} else {
  const [key, id, timestamp, signatures, file] = rest;
  console.log(verify(key, id, timestamp, signatures, fs.readFileSync(file)) ? 'yes' : 'no');
}
