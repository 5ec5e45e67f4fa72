// Runs before the first script of every page and worker of a site whose writes are held. What leaves
// by a socket cannot be stopped on its way: it is stopped here, told, and sent when that is allowed.
// Placeholders are replaced once per world; the originals are taken before a page can replace them.
(() => {
  'use strict';
  const BINDING = '__TOKEN__b', HOOK = '__TOKEN__g', KEY = '__KEY__';
  if (globalThis[HOOK]) return;
  const tell = typeof globalThis[BINDING] === 'function' ? globalThis[BINDING] : () => {};
  delete globalThis[BINDING];
  const { apply } = Reflect, { stringify } = JSON, { fromCharCode } = String;
  const encode = globalThis.btoa, view = ArrayBuffer.isView;
  const getter = (proto, key) => Object.getOwnPropertyDescriptor(proto, key).get;

  const LONG = 1 << 20, KEPT = 256;
  const held = Object.create(null);
  let last = 0;

  // A frame's data as it is now: the page may go on to change its buffer.
  const copy = (data) => {
    if (data instanceof ArrayBuffer) return data.slice(0);
    if (view(data)) return data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
    return data instanceof Blob ? data : String(data);
  };
  const describe = (data) => {
    if (typeof data === 'string') return { text: data.length > LONG ? data.substring(0, LONG) : data, size: data.length };
    if (data instanceof Blob) return { size: data.size };
    const bytes = new Uint8Array(data, 0, Math.min(data.byteLength, LONG));
    let text = '';
    for (let i = 0; i < bytes.length; i++) text += fromCharCode(bytes[i]);
    return { base64: encode(text), size: data.byteLength };
  };
  const hold = (type, kind, url, open) => {
    if (!type) return;
    const { prototype } = type, real = prototype.send;
    const state = getter(prototype, 'readyState');
    prototype.send = function send(data) {
      // A socket that is not open sends nothing; the original says what is wrong.
      if (arguments.length === 0 || apply(state, this, []) !== open) return apply(real, this, arguments);
      const frame = copy(data), id = ++last;
      held[id] = () => apply(real, this, [frame]);
      delete held[id - KEPT];
      tell(stringify({ id, kind, url: url(this), ...describe(frame) }));
    };
  };
  const { WebSocket, RTCDataChannel } = globalThis;
  const address = WebSocket && getter(WebSocket.prototype, 'url');
  hold(WebSocket, 'WS', (socket) => apply(address, socket, []), 1);
  const label = RTCDataChannel && getter(RTCDataChannel.prototype, 'label');
  hold(RTCDataChannel, 'RTC', (channel) => `rtc:${apply(label, channel, [])}`, 'open');

  // Streams without a frame to hold are not to be had.
  for (const name of ['WebTransport', 'WebSocketStream']) {
    if (!globalThis[name]) continue;
    globalThis[name] = function (url) {
      tell(stringify({ refused: name, url: String(url) }));
      throw new DOMException(`${name} is not available`, 'NotSupportedError');
    };
  }

  // Sends a held frame; the key keeps the page from doing so.
  const release = (key, id) => {
    const send = key === KEY && held[id];
    if (!send) return false;
    delete held[id];
    send();
    return true;
  };
  Object.defineProperty(globalThis, HOOK, { value: Object.freeze({ release }) });
})();
