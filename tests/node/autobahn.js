// AutobahnJS as the tests use it: on Node before 22, which has no WebSocket of its
// own, with the ws package in its place; reconnecting soon and for ever, because
// tests kill the router under it.
'use strict';

if (!globalThis.WebSocket) {
  // A browser's WebSocket that cannot connect does not throw.
  globalThis.WebSocket = class extends require('ws') {
    constructor(...args) {
      super(...args);
      this.on('error', () => {});
    }
  };
}
const autobahn = require('autobahn');

const serializers = {
  json: () => new autobahn.serializer.JSONSerializer(),
  msgpack: () => new autobahn.serializer.MsgpackSerializer(),
  cbor: () => new autobahn.serializer.CBORSerializer(),
};

// connect makes a connection, not open yet. want has transport, url, realm and
// serializer.
autobahn.connect = (want) => {
  const { hostname, port } = new URL(want.url);
  const transport = want.transport === 'rawsocket'
    ? { type: 'rawsocket', host: hostname, port: Number(port) }
    : { type: 'websocket', url: want.url, serializers: [serializers[want.serializer]()] };
  return new autobahn.Connection({
    transports: [transport],
    realm: want.realm,
    max_retries: -1,
    initial_retry_delay: 0.1,
    max_retry_delay: 0.5,
    on_user_error: () => {}, // the tests raise errors on purpose
  });
};

module.exports = autobahn;
