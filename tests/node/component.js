// The test component on AutobahnJS. It offers the procedures and topics which
// tests/peer_test.go lists and obeys one JSON object per line on its standard input.
//
// AutobahnJS speaks JSON, MessagePack and CBOR over WebSocket, but only JSON over
// RawSocket. It cannot be told that a call was cancelled: it does not announce
// call_canceling as a callee and treats INTERRUPT as a protocol violation.
'use strict';

const readline = require('node:readline');
const autobahn = require('./autobahn.js');
const { settings, tell } = require('./lines.js');
const { untag, tag, describe } = require('./values.js');

const want = settings();
const calls = new Map();
let session = null;

const procedures = {
  '.echo': (args, kwargs) => new autobahn.Result(args, kwargs),
  '.describe': (args, kwargs) => [describe(args), describe(kwargs)],
  '.refuse': (args, kwargs) => { throw new autobahn.Error('com.example.error.refused', args, kwargs); },
  '.crash': () => { throw 'the program broke'; },
  '.who': who,
  '.hang': (args) => {
    tell('hanging', { args: tag(args) });
    return new Promise(() => {});
  },
  '.count': (args, kwargs, details) => {
    if (details.progress) {
      for (let n = 1; n <= args[0]; n++) details.progress([n]);
    }
    return args[0];
  },
};

function who(args, kwargs, details) {
  return {
    procedure: details.procedure,
    caller: details.caller,
    caller_authid: details.caller_authid,
    caller_authrole: details.caller_authrole,
  };
}

function receiver(label) {
  return (args, kwargs, details) => tell('event', {
    subscription: label,
    topic: details.topic,
    publication: details.publication,
    publisher: details.publisher,
    publisher_authid: details.publisher_authid,
    retained: details.retained,
    args: tag(args),
    kwargs: tag(kwargs),
    text: describe(args),
  });
}

async function joined(opened, details) {
  for (const [suffix, procedure] of Object.entries(procedures)) {
    await opened.register(want.name + suffix, procedure, { disclose_caller: true });
  }
  await opened.register(want.name + '.family', who, { match: 'prefix' });
  await opened.register(want.name + '..leaf', who, { match: 'wildcard' });
  await opened.subscribe(want.name + '.news', receiver('news'));
  await opened.subscribe(want.name + '.wire', receiver('wire'), { match: 'prefix' });
  await opened.subscribe(want.name + '..sport', receiver('sport'), { match: 'wildcard' });
  session = opened;
  tell('ready', { session: opened.id, authid: details.authid, authrole: details.authrole });
}

// What the test asks for. AutobahnJS gives a lone positional result bare, and
// nothing at all as null.
function payload(result) {
  if (result instanceof autobahn.Result) return { args: tag(result.args), kwargs: tag(result.kwargs), text: describe(result.args) };
  return { args: [tag(result)], kwargs: {}, text: describe([result]) };
}

const orders = {
  async call({ id, uri, args, kwargs, options }) {
    const call = session.call(uri, untag(args || []), untag(kwargs || {}), options || {});
    calls.set(id, call);
    const result = await call.then((value) => value, undefined,
      (progress) => tell('progress', { id, ...payload(progress) }));
    tell('result', { id, ...payload(result) });
  },
  async cancel({ call, options }) {
    calls.get(call).cancel(options);
  },
  async publish({ id, uri, args, kwargs, options }) {
    const done = await session.publish(uri, untag(args || []), untag(kwargs || {}), { acknowledge: true, ...options });
    tell('published', { id, publication: done.id });
  },
};

async function obey(line) {
  const order = JSON.parse(line);
  try {
    await orders[order.do](order);
  } catch (error) {
    if (error instanceof autobahn.Error) tell('error', { id: order.id, error: error.error, args: tag(error.args), kwargs: tag(error.kwargs) });
    else tell('error', { id: order.id, error: String(error), args: [] });
  } finally {
    calls.delete(order.id);
  }
}

const connection = autobahn.connect(want);
connection.onopen = joined;
connection.onclose = (reason, details) => {
  session = null;
  tell('left', { reason: details.reason || reason });
};
connection.open();

readline.createInterface({ input: process.stdin })
  .on('line', obey)
  .on('close', () => {
    if (session) connection.onclose = () => process.exit(0);
    if (session) connection.close();
    else process.exit(0);
  });
