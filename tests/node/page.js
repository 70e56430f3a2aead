// A page that others can call or talk about, or one with a button that does so:
// roles "callee", "subscriber", "caller" and "publisher".
'use strict';

const autobahn = require('./autobahn.js');
const { settings, tell } = require('./lines.js');

const want = settings();
const agent = `node ${process.version}, process ${process.pid}`;

const roles = {
  // Shows what it is called with and answers who it is.
  async callee(session) {
    await session.register('callMeMaybe', ([message]) => {
      tell('shown', { message });
      return agent;
    });
  },
  async subscriber(session) {
    await session.subscribe('fascinatingSubject', ([message]) => tell('shown', { message }));
  },
  async caller(session) {
    tell('answered', { agent: await session.call('callMeMaybe', ['I called baby !']) });
  },
  // Publishing gives nothing back: nobody knows who will hear it.
  async publisher(session) {
    tell('published', { returned: session.publish('fascinatingSubject', ['Amazing !']) === undefined ? 'nothing' : 'something' });
  },
};

const connection = autobahn.connect(want);
connection.onopen = async (session) => {
  await roles[want.role](session);
  tell('ready', { agent });
};
connection.open();
process.stdin.on('end', () => process.exit(0)).resume();
