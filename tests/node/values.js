// Values on the way between a test, written in Go, and a WAMP library: see
// ../python/values.py, which writes the same tags and the same descriptions.
'use strict';

function untag(value) {
  if (Array.isArray(value)) return value.map(untag);
  if (value === null || typeof value !== 'object') return value;
  const keys = Object.keys(value);
  if (keys.length === 1 && keys[0] === '$bytes') return Buffer.from(value.$bytes, 'hex');
  if (keys.length === 1 && keys[0] === '$int') return BigInt(value.$int);
  return Object.fromEntries(keys.map((key) => [key, untag(value[key])]));
}

function bytes(value) {
  if (value instanceof ArrayBuffer) return Buffer.from(value);
  if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  // The MessagePack decoder hands out its own kind of buffer (bl).
  if (value && typeof value.slice === 'function' && typeof value.copy === 'function') return value.slice();
  return null;
}

function tag(value) {
  if (typeof value === 'bigint') return { $int: value.toString() };
  if (value === undefined || value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(tag);
  const raw = bytes(value);
  if (raw) return { $bytes: raw.toString('hex') };
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, tag(item)]));
}

function text(string) {
  return JSON.stringify(string).replace(/[\u0080-\uffff]/g,
    (unit) => '\\u' + unit.charCodeAt(0).toString(16).padStart(4, '0'));
}

function describe(value) {
  if (value === undefined) return 'undefined';
  if (typeof value === 'string') return text(value);
  if (value === null || typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return '[' + value.map(describe).join(',') + ']';
  const raw = bytes(value);
  if (raw) return 'bytes(' + raw.toString('hex') + ')';
  return '{' + Object.entries(value).map(([key, item]) => text(key) + ':' + describe(item)).join(',') + '}';
}

module.exports = { untag, tag, describe };
