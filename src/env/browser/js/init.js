// Runs in the page's own world before its first script: seeds what is random, moves the clock to
// the run's start, and watches for quiet. Placeholders are replaced once per world.
(() => {
  'use strict';
  const TOKEN = '__TOKEN__', SEED = __SEED__, SHIFT = __SHIFT__;
  if (window[TOKEN]) return;

  // --- randomness: sfc32, seeded per document, so that two loads of one document agree
  if (SEED !== null) {
    let a = SEED[0] | 0, b = SEED[1] | 0, c = SEED[2] | 0, d = 1;
    const next = () => {
      const t = (a + b | 0) + d | 0;
      d = d + 1 | 0; a = b ^ b >>> 9; b = c + (c << 3) | 0; c = (c << 21 | c >>> 11) + t | 0;
      return (t >>> 0) / 4294967296;
    };
    for (let i = 0; i < 12; i++) next();
    Math.random = function random() { return next(); };
    if (window.crypto) {
      const hex = (n) => Array.from({ length: n }, () => Math.floor(next() * 16).toString(16)).join('');
      crypto.randomUUID = function randomUUID() {
        return `${hex(8)}-${hex(4)}-4${hex(3)}-${'89ab'[Math.floor(next() * 4)]}${hex(3)}-${hex(12)}`;
      };
    }
  }

  // --- the clock: real speed, shifted so that every lane starts at the run's start
  if (SHIFT !== 0) {
    const Real = Date, real = Real.now.bind(Real);
    const now = function now() { return real() - SHIFT; };
    window.Date = new Proxy(Real, {
      construct: (target, args, self) => Reflect.construct(target, args.length ? args : [now()], self),
      apply: () => new Real(now()).toString(),
      get: (target, key, self) => (key === 'now' ? now : Reflect.get(target, key, self)),
    });
    Real.prototype.constructor = window.Date;
  }

  // --- storage as the document found it: what a restore of this document has to start from
  const stored = (storage) => {
    try { return Object.fromEntries(Object.keys(storage()).map((key) => [key, storage().getItem(key)])); } catch { return {}; }
  };
  const storage = Object.freeze({ local: stored(() => localStorage), session: stored(() => sessionStorage) });

  // --- quiet: no short timer due, no mutation over two frames, no short animation running
  const real = { setTimeout: window.setTimeout, clearTimeout: window.clearTimeout };
  const start = performance.now.bind(performance);
  const due = new Map();
  let nesting = 0;
  // A chain of timers that keeps re-arming itself is a clock or a poll: after a few links it no
  // longer counts as something that will soon be done.
  const MAX_CHAIN = 5;
  window.setTimeout = function setTimeout(handler, delay, ...args) {
    const chain = nesting + 1;
    const run = typeof handler !== 'function' ? handler : function (...given) {
      due.delete(id);
      const before = nesting;
      nesting = chain;
      try { return handler.apply(this, given); } finally { nesting = before; }
    };
    const id = real.setTimeout.call(window, run, delay, ...args);
    if (chain <= MAX_CHAIN) due.set(id, start() + (Number(delay) || 0));
    return id;
  };
  window.clearTimeout = function clearTimeout(id) { due.delete(id); return real.clearTimeout.call(window, id); };

  // A page that closes itself goes on for a moment as if nothing had been.
  let closing = -Infinity;
  const shut = window.close.bind(window);
  window.close = function close() { closing = start(); shut(); };

  const pending = (ahead) => {
    const now = start();
    if (now - closing < 500) return true;
    for (const [id, at] of due) {
      if (at < now - 1000) due.delete(id); // a string handler, or a frozen page
      else if (at <= now + ahead) return true;
    }
    return false;
  };
  const animating = () => {
    for (const animation of document.getAnimations ? document.getAnimations() : []) {
      if (animation.playState !== 'running' || !animation.effect) continue;
      const timing = animation.effect.getComputedTiming();
      const left = (timing.endTime - (animation.currentTime || 0)) / (animation.playbackRate || 1);
      if (Number.isFinite(left) && left > 0 && left <= 2000) return true;
    }
    return false;
  };
  const raf = window.requestAnimationFrame.bind(window);
  const frame = () => new Promise((done) => {
    // A hidden tab gets no frames: a timer ends the wait then.
    const fallback = real.setTimeout.call(window, done, 120);
    raf(() => { real.clearTimeout.call(window, fallback); done(); });
  });
  // Resolves to true at rest, to false after `max` milliseconds.
  const quiet = async (ahead, max) => {
    const end = start() + max;
    let mutated = false;
    const observer = new MutationObserver(() => { mutated = true; });
    observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
    try {
      for (;;) {
        mutated = false;
        await frame();
        await frame();
        if (!mutated && !pending(ahead) && !animating() && document.readyState !== 'loading') return true;
        if (start() >= end) return false;
      }
    } finally { observer.disconnect(); }
  };

  // --- which elements listen for clicks: the walk asks by a probe event that only we answer
  const listening = new WeakSet();
  const kinds = new Set(['click', 'mousedown', 'mouseup', 'pointerdown', 'pointerup', 'touchstart', 'dblclick']);
  const add = EventTarget.prototype.addEventListener;
  EventTarget.prototype.addEventListener = function addEventListener(kind, listener, options) {
    if (listener && kinds.has(kind) && this instanceof Element) listening.add(this);
    return add.call(this, kind, listener, options);
  };
  const reacts = (element) => {
    if (listening.has(element)) return true;
    if (element.onclick || element.onmousedown || element.onpointerdown || element.onmouseup) return true;
    for (const key of Object.keys(element)) {
      if (key.startsWith('__reactProps$')) return !!(element[key] && (element[key].onClick || element[key].onMouseDown));
    }
    return false;
  };
  add.call(window, TOKEN, (event) => {
    event.stopImmediatePropagation();
    if (reacts(event.composedPath()[0])) event.preventDefault();
  }, true);

  Object.defineProperty(window, TOKEN, { value: Object.freeze({ quiet, storage }), enumerable: false });
})();
