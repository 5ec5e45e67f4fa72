// What an origin keeps in IndexedDB and Cache Storage, as JSON and back. An expression, evaluated in
// a world of its own when it is needed; both methods give promises.
(() => {
  'use strict';
  class Unkept extends Error {}
  const CHUNK = 256;
  const asked = (request) => new Promise((ok, no) => {
    request.onsuccess = () => ok(request.result);
    request.onerror = (event) => { event.preventDefault(); no(request.error); };
  });
  const finished = (transaction) => new Promise((ok, no) => {
    transaction.oncomplete = () => ok();
    transaction.onabort = () => no(transaction.error || new Error('it was aborted'));
  });

  // --- values: JSON stands for itself, but for lists; all else is a list that begins with its kind
  const kind = (value) => Object.prototype.toString.call(value).slice(8, -1);
  const toText = (buffer) => {
    const bytes = new Uint8Array(buffer);
    let text = '';
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  };
  const toBuffer = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer;
  const encode = (value, seen = new Set()) => {
    if (value === null || typeof value === 'string' || typeof value === 'boolean') return value;
    if (typeof value === 'number') {
      if (Object.is(value, -0)) return ['number', '-0'];
      return Number.isFinite(value) ? value : ['number', String(value)];
    }
    if (value === undefined) return ['undefined'];
    if (typeof value === 'bigint') return ['bigint', String(value)];
    // Two places that hold the same object would come back as two objects.
    if (seen.has(value)) throw new Unkept('an object is in it twice');
    seen.add(value);
    const inner = (part) => encode(part, seen);
    if (ArrayBuffer.isView(value)) {
      return ['view', kind(value), inner(value.buffer), value.byteOffset, value.length ?? value.byteLength];
    }
    switch (kind(value)) {
      case 'Array':
        if (Object.keys(value).length !== value.length) throw new Unkept('a list has holes or names');
        return ['list', ...value.map(inner)];
      case 'Object': return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, inner(part)]));
      case 'Date': return ['date', inner(value.getTime())];
      case 'RegExp': return ['pattern', value.source, value.flags];
      case 'Map': return ['map', ...[...value].flat().map(inner)];
      case 'Set': return ['set', ...[...value].map(inner)];
      case 'ArrayBuffer': return ['bytes', toText(value)];
      default: throw new Unkept(`a value is of type ${kind(value)}`);
    }
  };
  const decode = (value) => {
    if (value === null || typeof value !== 'object') return value;
    if (!Array.isArray(value)) return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, decode(part)]));
    const [of, ...parts] = value;
    switch (of) {
      case 'number': return Number(parts[0]);
      case 'bigint': return BigInt(parts[0]);
      case 'view': return new globalThis[parts[0]](decode(parts[1]), parts[2], parts[3]);
      case 'list': return parts.map(decode);
      case 'date': return new Date(decode(parts[0]));
      case 'pattern': return new RegExp(parts[0], parts[1]);
      case 'map': return new Map(Array.from({ length: parts.length / 2 }, (_, i) => [decode(parts[2 * i]), decode(parts[2 * i + 1])]));
      case 'set': return new Set(parts.map(decode));
      case 'bytes': return toBuffer(parts[0]);
      default: return undefined;
    }
  };

  // --- databases
  const opened = (name, version, upgrade) => new Promise((ok, no) => {
    const request = indexedDB.open(name, version);
    // Without a version only what is there is opened: what has gone meanwhile is not made anew.
    request.onupgradeneeded = () => (upgrade ? upgrade(request.result) : request.transaction.abort());
    request.onerror = (event) => { event.preventDefault(); no(request.error); };
    request.onsuccess = () => {
      // The page may change or delete it at any time.
      request.result.onversionchange = () => request.result.close();
      ok(request.result);
    };
  });
  const shape = (store) => ({
    name: store.name, keyPath: store.keyPath, autoIncrement: store.autoIncrement,
    indexes: [...store.indexNames].map((name) => store.index(name))
      .map(({ name, keyPath, unique, multiEntry }) => ({ name, keyPath, unique, multiEntry })),
  });
  const entriesOf = async (store, room) => {
    const entries = [];
    let range = null;
    for (;;) {
      const [keys, values] = await Promise.all([asked(store.getAllKeys(range, CHUNK)), asked(store.getAll(range, CHUNK))]);
      keys.forEach((key, i) => {
        const entry = [encode(key), encode(values[i])];
        room.take(JSON.stringify(entry).length);
        entries.push(entry);
      });
      if (keys.length < CHUNK) return entries;
      range = IDBKeyRange.lowerBound(keys[keys.length - 1], true);
    }
  };
  // The key that the store would give next: asked for in a transaction that comes to nothing.
  const nextKey = async (db, name) => {
    const transaction = db.transaction(name, 'readwrite');
    const end = finished(transaction).catch(() => {});
    const key = await asked(transaction.objectStore(name).add({})).catch(() => null);
    transaction.abort();
    await end;
    return key;
  };
  const readDatabase = async (name, room) => {
    const db = await opened(name);
    try {
      const names = [...db.objectStoreNames];
      const stores = [];
      if (names.length) {
        const transaction = db.transaction(names, 'readonly');
        for (const store of names.map((each) => transaction.objectStore(each))) {
          try {
            stores.push({ shape: shape(store), entries: await entriesOf(store, room) });
          } catch (error) {
            if (error instanceof Unkept) error.message = `IndexedDB ${name}/${store.name}: ${error.message}`;
            throw error;
          }
        }
      }
      for (const store of stores) store.next = store.shape.autoIncrement ? await nextKey(db, store.shape.name) : null;
      return { name, version: db.version, stores };
    } finally { db.close(); }
  };
  const fill = async (db, stores) => {
    if (!stores.length) return;
    const transaction = db.transaction(stores.map((store) => store.shape.name), 'readwrite');
    const end = finished(transaction);
    for (const { shape: { name, keyPath }, entries, next } of stores) {
      const store = transaction.objectStore(name);
      store.clear();
      if (next > 1) {
        // A key that was given by hand moves the counter behind it, and stays behind when it has gone.
        const last = next - 1, blank = {};
        if (keyPath === null) store.put(blank, last);
        else {
          const path = keyPath.split('.'), leaf = path.pop();
          path.reduce((at, step) => (at[step] = {}), blank)[leaf] = last;
          store.put(blank);
        }
        store.delete(last);
      }
      for (const [key, value] of entries) {
        if (keyPath === null) store.put(decode(value), decode(key));
        else store.put(decode(value));
      }
    }
    await end;
  };
  const build = (db, stores) => {
    for (const { shape: { name, keyPath, autoIncrement, indexes } } of stores) {
      const store = db.createObjectStore(name, { keyPath, autoIncrement });
      for (const index of indexes) store.createIndex(index.name, index.keyPath, index);
    }
  };
  const shapes = (database) => JSON.stringify([database.version, database.stores.map((store) => store.shape)]);

  // --- caches
  const home = location.origin;
  const readCache = async (name, room) => {
    const cache = await caches.open(name);
    const [requests, responses] = await Promise.all([cache.keys(), cache.matchAll()]);
    const entries = [];
    for (const [i, request] of requests.entries()) {
      const response = responses[i];
      if (response.type.startsWith('opaque')) throw new Unkept(`Cache Storage ${name}: a response is opaque`);
      const url = request.url.startsWith(`${home}/`) ? request.url.slice(home.length) : request.url;
      const entry = [url, [...request.headers], response.status, response.statusText, [...response.headers], toText(await response.arrayBuffer())];
      room.take(JSON.stringify(entry).length);
      entries.push(entry);
    }
    return { name, entries };
  };
  const fillCache = async ({ name, entries }) => {
    const cache = await caches.open(name);
    for (const [url, headers, status, statusText, answered, body] of entries) {
      const bytes = body === '' ? null : toBuffer(body);
      await cache.put(new Request(url, { headers }), new Response(bytes, { status, statusText, headers: answered }));
    }
  };

  // --- the whole
  const snapshot = async (most) => {
    let left = most;
    const room = { take: (size) => { left -= size; if (left < 0) throw new Unkept(`more than ${most} bytes are kept`); } };
    const databases = [], kept = [];
    const names = (await indexedDB.databases()).map((database) => database.name).sort();
    for (const name of names) databases.push(await readDatabase(name, room));
    // Only secure contexts have caches.
    const cached = self.caches ? await caches.keys() : [];
    for (const name of cached) kept.push(await readCache(name, room));
    return { databases, caches: kept };
  };
  const text = (all) => (all.databases.length + all.caches.length ? JSON.stringify(all) : '');
  const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);
  return {
    // `{ kept }`: the text that `put` takes, empty if there is nothing; or `{ refused }`: why not.
    read: async (most) => {
      try {
        return { kept: text(await snapshot(most)) };
      } catch (error) {
        return { refused: error instanceof Unkept ? error.message : `IndexedDB or Cache Storage could not be read (${error})` };
      }
    },
    // Makes the origin hold what `kept` says. Gives null, or why it could not be made to.
    put: async (kept, most) => {
      const want = kept === '' ? { databases: [], caches: [] } : JSON.parse(kept);
      try {
        const now = await snapshot(most);
        if (text(now) === kept) return null;
        const strange = now.databases.find((database) => !want.databases.some((other) => other.name === database.name));
        if (strange) return `there is an IndexedDB ${strange.name} that was not`;
        for (const database of want.databases) {
          const { name, version, stores } = database;
          const there = now.databases.find((other) => other.name === name);
          if (there && shapes(there) !== shapes(database)) return `the IndexedDB ${name} has other stores`;
          if (there && same(there, database)) continue;
          const ahead = there && there.stores.find((store, i) => store.next > stores[i].next);
          if (ahead) return `the IndexedDB ${name}/${ahead.shape.name} has given out keys since`;
          const db = await opened(name, version, (fresh) => build(fresh, stores));
          try { await fill(db, stores); } finally { db.close(); }
        }
        if (!same(now.caches, want.caches)) {
          for (const { name } of now.caches) await caches.delete(name);
          for (const cache of want.caches) await fillCache(cache);
        }
        return text(await snapshot(most)) === kept ? null : 'IndexedDB or Cache Storage came out differently';
      } catch (error) {
        return error instanceof Unkept ? error.message : `IndexedDB or Cache Storage could not be put back (${error})`;
      }
    },
  };
})()
