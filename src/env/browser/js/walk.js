// Runs in an isolated world: the page can neither see nor change it. One pass over the document
// gives what an agent can see and use; the same element keeps its reference for as long as it lives.
(() => {
  'use strict';
  const TOKEN = '__TOKEN__', HIDE = __HIDE__;
  if (globalThis.branchline) return;
  // What is longer is cut for reading; the digest covers names up to MAX_DEEP and all other text.
  const MAX_ITEMS = 6000, MAX_NODES = 300000, MAX_NAME = 160, MAX_TEXT = 600, MAX_DEEP = 4000, MAX_OPTIONS = 200;

  const refs = new WeakMap();   // element -> number
  const known = new Map();      // number -> WeakRef(element)
  const squash = (text) => text.replace(/[\s\u200b\u00ad]+/g, ' ').trim();
  // cyrb53 (public domain): two texts that differ have different digits, for all that a digest needs.
  const hash = (text) => {
    let a = 0xdeadbeef, b = 0x41c6ce57;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      a = Math.imul(a ^ c, 2654435761); b = Math.imul(b ^ c, 1597334677);
    }
    a = Math.imul(a ^ a >>> 16, 2246822507) ^ Math.imul(b ^ b >>> 13, 3266489909);
    b = Math.imul(b ^ b >>> 16, 2246822507) ^ Math.imul(a ^ a >>> 13, 3266489909);
    return 4294967296 * (2097151 & b) + (a >>> 0);
  };
  const cut = (text, max) => (text.length <= max ? text : text.slice(0, max - 1).trimEnd() + '…');

  const WIDGETS = new Set(['button', 'link', 'checkbox', 'radio', 'switch', 'tab', 'menuitem', 'menuitemcheckbox',
    'menuitemradio', 'option', 'combobox', 'listbox', 'textbox', 'searchbox', 'slider', 'spinbutton', 'treeitem', 'gridcell']);
  const ROLES = new Set([...WIDGETS, 'heading', 'img', 'alert', 'status', 'dialog', 'alertdialog', 'tooltip', 'progressbar',
    'meter', 'row', 'cell', 'columnheader', 'rowheader', 'list', 'listitem', 'navigation', 'main', 'presentation', 'none', 'group']);
  const TYPES = { checkbox: 'checkbox', radio: 'radio', range: 'slider', number: 'spinbutton', search: 'searchbox',
    button: 'button', submit: 'button', reset: 'button', image: 'button', file: 'file', color: 'colorwell' };
  const NATIVE = 'a[href],button,input:not([type=hidden]),select,textarea,summary,[contenteditable=""],[contenteditable=true]';
  const SHAPES = new Set(['circle', 'rect', 'ellipse', 'polygon', 'polyline', 'path', 'line', 'text', 'g', 'image', 'use']);

  const roleOf = (el, tag) => {
    const given = el.getAttribute('role');
    if (given) {
      const first = given.trim().split(/\s+/)[0].toLowerCase();
      if (ROLES.has(first)) return first;
    }
    switch (tag) {
      case 'a': return el.hasAttribute('href') ? 'link' : '';
      case 'button': case 'summary': return 'button';
      case 'input': return TYPES[el.type] || 'textbox';
      case 'textarea': return 'textbox';
      case 'select': return el.multiple || el.size > 1 ? 'listbox' : 'combobox';
      case 'h1': case 'h2': case 'h3': case 'h4': case 'h5': case 'h6': return 'heading';
      case 'img': return 'img';
      case 'canvas': return 'canvas';
      case 'video': case 'audio': return tag;
      case 'dialog': return 'dialog';
      case 'progress': return 'progressbar';
      case 'meter': return 'meter';
      case 'iframe': case 'frame': return 'iframe';
      default: return el.isContentEditable && !(el.parentElement && el.parentElement.isContentEditable) ? 'textbox' : '';
    }
  };

  // The text of a subtree as a reader would get it.
  const textOf = (node, depth = 0) => {
    let out = '';
    for (const child of node.childNodes) {
      if (out.length > MAX_DEEP || depth > 20) break;
      if (child.nodeType === 3) out += child.data;
      else if (child.nodeType === 1) {
        const tag = child.localName;
        if (tag === 'script' || tag === 'style' || tag === 'noscript' || tag === 'template') continue;
        if (tag === 'img') { out += ' ' + (child.alt || '') + ' '; continue; }
        if (tag === 'input' || tag === 'select' || tag === 'textarea') continue;
        if (!child.checkVisibility || child.checkVisibility({ checkVisibilityCSS: true })) {
          const inner = textOf(child.shadowRoot || child, depth + 1);
          out += /^(span|b|i|em|strong|a|sub|sup|small|code|mark|u|tspan)$/.test(tag) ? inner : ' ' + inner + ' ';
        }
      }
    }
    return depth ? out : squash(out);
  };

  const byIds = (el, ids) => squash(ids.split(/\s+/).map((id) => {
    const target = el.getRootNode().getElementById ? el.getRootNode().getElementById(id) : null;
    return target ? textOf(target) : '';
  }).join(' '));

  const labelOf = (el) => {
    if (!el.labels || !el.labels.length) return '';
    return squash(Array.from(el.labels, (label) => textOf(label)).join(' '));
  };

  const MADE_UP = /^(?=.*[a-z])(?=(?:.*\d){3})[a-z\d]{6,}$/i;
  const hint = (el, tag) => {
    if (SHAPES.has(tag)) {
      const colour = el.getAttribute('fill') || el.style.fill || el.getAttribute('stroke') || '';
      return squash(`${colour} ${tag} ${el.getAttribute('id') || ''}`);
    }
    const word = el.getAttribute('data-testid') || el.getAttribute('name') || el.id || (typeof el.className === 'string' ? el.className : '');
    // Identifiers that a framework made up say nothing, and are others with every load.
    return word ? squash(String(word).replace(/[-_.:]+/g, ' ')).split(' ').filter((part) => !MADE_UP.test(part)).join(' ') : '';
  };

  // A simplified accessible name computation (W3C accname 1.2, steps 2B to 2I).
  const nameOf = (el, tag, role) => {
    const labelled = el.getAttribute('aria-labelledby');
    let name = labelled ? byIds(el, labelled) : '';
    name = name || squash(el.getAttribute('aria-label') || '');
    if (name) return name;
    if (tag === 'input') {
      if (role === 'button') name = el.value || (el.type === 'submit' ? 'Submit' : el.type === 'reset' ? 'Reset' : el.alt);
      else name = labelOf(el);
    } else if (tag === 'select' || tag === 'textarea') name = labelOf(el);
    else if (tag === 'img') name = el.alt;
    else if (tag === 'iframe') name = el.title || el.name;
    else if (role !== 'textbox' && role !== 'listbox' && role !== 'combobox') name = textOf(el);
    name = squash(name || '') || squash(el.getAttribute('title') || '') || squash(el.getAttribute('placeholder') || '');
    if (!name) {
      const title = el.querySelector && el.querySelector('svg title, img[alt]');
      if (title) name = squash(title.textContent || title.alt || '');
    }
    return name || hint(el, tag);
  };

  const valueOf = (el, tag, role) => {
    if (tag === 'input') {
      switch (el.type) {
        case 'checkbox': case 'radio': case 'button': case 'submit': case 'reset': case 'image': return null;
        case 'password': return '•'.repeat(el.value.length);
        case 'file': return Array.from(el.files || [], (f) => f.name).join(', ');
        default: return el.value;
      }
    }
    if (tag === 'textarea') return el.value;
    if (tag === 'select') return Array.from(el.selectedOptions, (o) => squash(o.label || o.text)).join(', ');
    if (el.isContentEditable && role === 'textbox') return squash(el.innerText);
    if (tag === 'progress' || tag === 'meter') return String(el.value);
    return el.getAttribute('aria-valuetext') || el.getAttribute('aria-valuenow');
  };

  const statesOf = (el, tag, active) => {
    let s = '';
    const aria = (name) => el.getAttribute('aria-' + name);
    const checked = aria('checked');
    if ((tag === 'input' && (el.type === 'checkbox' || el.type === 'radio') && el.checked) || checked === 'true') s += 'c';
    if (el.indeterminate === true || checked === 'mixed') s += 'm';
    if (aria('selected') === 'true') s += 's';
    const expanded = aria('expanded');
    if (expanded === 'true' || (tag === 'summary' && el.parentElement && el.parentElement.open)) s += 'e';
    else if (expanded === 'false' || (tag === 'summary' && el.parentElement && el.parentElement.localName === 'details')) s += 'o';
    if (aria('pressed') === 'true') s += 'p';
    if (el.disabled === true || aria('disabled') === 'true' || el.inert === true || (el.closest && el.closest('fieldset:disabled'))) s += 'd';
    if (el.readOnly === true || aria('readonly') === 'true') s += 'r';
    if (el.required === true || aria('required') === 'true') s += 'q';
    if (el === active) s += 'f';
    if (aria('invalid') === 'true' || (tag !== 'form' && el.matches && el.matches(':user-invalid'))) s += 'i';
    return s;
  };

  // Attributes that an agent can read or that decide what it can do, beyond role, name, value, states.
  const MARKS = new Set(['title', 'placeholder', 'type', 'min', 'max', 'step', 'maxlength', 'minlength', 'pattern', 'multiple', 'accept',
    'target', 'download', 'draggable', ...['current', 'sort', 'busy', 'haspopup', 'description', 'level', 'modal', 'multiline',
      'orientation', 'posinset', 'setsize', 'roledescription', 'valuemin', 'valuemax', 'keyshortcuts'].map((name) => 'aria-' + name)]);
  const marksOf = (el, tag) => {
    let out = '';
    for (const name of el.getAttributeNames()) if (MARKS.has(name)) out += name + '=' + el.getAttribute(name) + '\n';
    const described = el.getAttribute('aria-describedby');
    if (described) out += 'described=' + byIds(el, described) + '\n';
    if (tag === 'dialog' && el.matches(':modal')) out += 'modal\n';
    return out;
  };
  // Where using it leads: the target of a link or form, the picture's source.
  const leadsTo = (el, tag) => {
    if (tag === 'a' || tag === 'area') return typeof el.href === 'string' ? el.href : el.getAttribute('href');
    if (tag === 'img') return el.currentSrc || el.src;
    if ((tag === 'button' || tag === 'input') && el.form && /^(submit|image)$/.test(el.type))
      return el.getAttribute('formaction') || el.form.getAttribute('action') || '';
    return null;
  };
  // What is in the digest, but not shown.
  const factsOf = (el, tag, active) => {
    const facts = {};
    const marks = marksOf(el, tag);
    if (marks) facts.marks = marks;
    const to = leadsTo(el, tag);
    if (to) facts.to = to.startsWith('data:') || to.length > 2000 ? 'data:' + hash(to) : to;
    if (tag === 'select') facts.options = String(hash(Array.from(el.options, (o) => [o.label, o.value, o.disabled, o.selected].join('\0')).join('\n')));
    else if (tag === 'input' || tag === 'button') {
      // A password counts without being given away: 16 bits of it, in this object only.
      if (el.type === 'password') facts.secret = String(hash(el.value) & 0xffff);
      else if (/^(checkbox|radio|submit|button)$/.test(el.type) && el.name) facts.sends = [el.name, el.value.slice(0, 500)];
    }
    if (el === active && (tag === 'input' || tag === 'textarea')) {
      try { if (el.selectionStart !== null) facts.caret = el.selectionStart + '-' + el.selectionEnd; } catch {}
    }
    return facts;
  };

  // The place of an element in its document, for comparing two loads: tags with their position
  // among equals, up to a named ancestor or landmark.
  const paths = new Map();
  const pathOf = (el) => {
    const kept = paths.get(el);
    if (kept !== undefined) return kept;
    const tag = el.localName;
    let path;
    if (el.id && !MADE_UP.test(el.id) && !/\d{3,}/.test(el.id)) path = '#' + el.id;
    else if (tag === 'body' || tag === 'html') path = tag;
    else {
      const parent = el.parentElement || (el.getRootNode().host);
      let n = 1;
      for (let s = el.previousElementSibling; s; s = s.previousElementSibling) if (s.localName === tag) n++;
      const own = /^(header|footer|main|nav|aside)$/.test(tag) && n === 1 ? tag : tag + n;
      path = parent ? pathOf(parent) + '>' + own : own;
    }
    paths.set(el, path);
    return path;
  };

  const reacts = (el) => {
    const probe = new Event(TOKEN, { cancelable: true, composed: true });
    return !el.dispatchEvent(probe);
  };

  const deepActive = (root) => {
    let el = root.activeElement;
    while (el && el.shadowRoot && el.shadowRoot.activeElement) el = el.shadowRoot.activeElement;
    return el === document.body ? null : el;
  };

  let last = [];    // the elements of the last walk's items, for rebinding

  // `placed`: whether every item comes with its path.
  const walk = (nextRef, placed) => {
    const items = [], elements = [], inner = [], hidden = [];
    const page = document.scrollingElement || document.documentElement;
    const view = { w: innerWidth, h: innerHeight };
    const active = deepActive(document);
    let nodes = 0, truncated = false, group = 0, groups = 0;
    let buffer = '', bufferParent = null;

    const place = (el) => {
      let box = el.getBoundingClientRect();
      if (!box.width && !box.height && el.localName === 'input' && el.labels && el.labels[0]) box = el.labels[0].getBoundingClientRect();
      if (box.bottom <= 0) return 4;
      if (box.top >= view.h) return 8;
      return box.right <= 0 || box.left >= view.w ? 16 : 2;
    };
    const emit = (el, role, name, value, states, options, interactive, level) => {
      if (items.length >= MAX_ITEMS) { truncated = true; return; }
      let ref = 0;
      if (interactive) {
        ref = refs.get(el);
        if (!ref) { ref = nextRef++; refs.set(el, ref); known.set(ref, new WeakRef(el)); }
      }
      const tag = el.localName, plain = role === 'text';
      const facts = plain ? {} : factsOf(el, tag, active);
      const max = plain ? MAX_TEXT : MAX_NAME;
      if (name.length > max) { facts.name = name; name = cut(name, max); }
      if (value && value.length > MAX_TEXT) { facts.value = value; value = cut(value, MAX_TEXT); }
      items.push([role, name, value, states, options, (interactive ? 1 : 0) | place(el), ref, level, group, facts, placed ? pathOf(el) : '']);
      elements.push(el);
    };
    const flush = () => {
      const text = squash(buffer);
      buffer = '';
      if (text) emit(bufferParent, 'text', text, null, '', null, false, 0);
      bufferParent = null;
    };

    const children = (el, mute, lent) => {
      if (el.localName === 'slot') {
        const assigned = el.assignedNodes();
        for (const node of assigned.length ? assigned : el.childNodes) visit(node, mute, lent);
      } else for (const node of (el.shadowRoot || el).childNodes) visit(node, mute, lent);
    };

    // `lent`: an ancestor without controls of its own listens for clicks on its parts.
    const visit = (node, mute, lent) => {
      if (++nodes > MAX_NODES || items.length >= MAX_ITEMS) { truncated = true; return; }
      if (node.nodeType === 3) {
        if (!mute && node.data.trim()) {
          if (!bufferParent) bufferParent = node.parentElement || node.getRootNode().host;
          buffer += node.data;
        } else if (buffer) buffer += ' ';
        return;
      }
      if (node.nodeType !== 1) return;
      const el = node, tag = el.localName;
      if (tag === 'script' || tag === 'style' || tag === 'noscript' || tag === 'template' || tag === 'head' || tag === 'title') return;
      if (tag === 'br') { flush(); return; }
      if (HIDE && el.matches(HIDE)) return;
      if (tag === 'input' && el.type === 'hidden') {
        if (!el.disabled && el.name && el.value) hidden.push([el.name, el.value.length > 200 ? String(hash(el.value)) : el.value, placed ? pathOf(el) : '']);
        return;
      }
      const css = getComputedStyle(el);
      if (css.display === 'none') return;
      if (tag !== 'option' && !el.checkVisibility()) return;
      const seen = css.visibility === 'visible';
      // A field's own text scrolls with its caret: that is no place anybody went to.
      if (el !== page && tag !== 'input' && (el.scrollTop || el.scrollLeft)) inner.push([items.length, Math.round(el.scrollLeft), Math.round(el.scrollTop)]);
      if (el.getAttribute('aria-hidden') === 'true' && !el.querySelector(NATIVE)) return;

      const role = roleOf(el, tag);
      if (role === 'iframe') {
        flush();
        let index = -1;
        for (let i = 0; i < frames.length; i++) if (frames[i] === el.contentWindow) { index = i; break; }
        emit(el, 'iframe', nameOf(el, tag, role), String(index), '', null, false, 0);
        return;
      }
      const block = !css.display.startsWith('inline') && css.display !== 'contents';
      const native = el.matches(NATIVE);
      let widget = native || WIDGETS.has(role);
      if (!widget && seen && tag !== 'body' && tag !== 'html' && tag !== 'label') {
        const parent = el.parentElement;
        const pointer = css.cursor === 'pointer' && !(parent && getComputedStyle(parent).cursor === 'pointer');
        const reachable = pointer || el.getAttribute('draggable') === 'true' || el.tabIndex >= 0 && el.hasAttribute('tabindex') || reacts(el);
        // A region with controls inside (or a pane that only scrolls by keyboard) is a container.
        if (reachable && !el.querySelector(NATIVE + ',[role=button],[role=link],[role=tab],[role=menuitem],[role=option]')) widget = true;
        if (widget && el.shadowRoot) widget = false;
        if (!widget && lent && (SHAPES.has(tag) || leaf(el) && el.textContent.trim())) widget = true;
        if (widget && !lent && !role && parts(el) > 1) {
          flush();
          children(el, mute, true);
          flush();
          return;
        }
      }
      if (widget && seen) {
        const shown = role || (SHAPES.has(tag) ? 'shape' : 'clickable');
        const inner = el.querySelector(NATIVE) || (shown === 'clickable' && el.childElementCount > 0 && nested(el));
        if (inner && shown === 'clickable') {
          if (block) flush();
          children(el, mute, lent);
          if (block) flush();
          return;
        }
        flush();
        let options = null;
        if (tag === 'select') options = Array.from(el.options).slice(0, MAX_OPTIONS).map((o) => cut(squash(o.label || o.text), 80));
        const value = valueOf(el, tag, role);
        emit(el, shown, nameOf(el, tag, role), value === null || value === undefined ? null : String(value),
          statesOf(el, tag, active), options, true, 0);
        // Controls inside a control (a link around a card with buttons) are items of their own.
        if (inner) children(el, true);
        if (el.shadowRoot && tag !== 'input' && tag !== 'textarea') children(el, true);
        return;
      }
      if (role === 'heading' && seen && !el.querySelector(NATIVE)) {
        flush();
        const name = textOf(el);
        const level = Number(el.getAttribute('aria-level')) || Number(tag[1]) || 2;
        if (name) emit(el, 'heading', name, null, '', null, false, level);
        return;
      }
      if ((role === 'img' || role === 'canvas' || role === 'progressbar' || role === 'meter') && seen) {
        const name = nameOf(el, tag, role);
        const value = valueOf(el, tag, role);
        if (name && name !== hint(el, tag) || value) { flush(); emit(el, role, name, value === undefined ? null : value, '', null, false, 0); }
        if (tag !== 'svg') return;
      }
      const outer = group;
      if (tag === 'tr' || tag === 'li' || role === 'row') { flush(); group = ++groups; }
      else if (block || tag === 'td' || tag === 'th') flush();
      const live = role === 'alert' || role === 'status' || role === 'dialog' || role === 'alertdialog';
      if (live && seen && el.textContent.trim()) {
        const label = squash(el.getAttribute('aria-label') || '');
        flush();
        emit(el, role, label, null, '', null, false, 0);
      }
      // The text of a label is the name of its control already.
      const labels = tag === 'label' && el.control && el.control.checkVisibility() && el.control.type !== 'hidden';
      children(el, mute || labels || !seen, lent);
      if (block || tag === 'td' || tag === 'th') flush();
      if (tag === 'tr' || tag === 'li' || role === 'row') { flush(); group = outer; }
    };
    const TEXTUAL = /^(span|b|i|em|strong|sub|sup|small|code|mark|u|tspan|br)$/;
    const leaf = (el) => Array.from(el.children).every((child) => TEXTUAL.test(child.localName));
    // How many parts a listening element has that could be meant by a click on it.
    const parts = (el) => {
      let count = 0;
      for (const child of el.children) {
        if (SHAPES.has(child.localName) || !TEXTUAL.test(child.localName) && child.textContent.trim()) count++;
        else if (child.localName === 'g' || child.children.length) count += parts(child);
      }
      return count;
    };
    // Whether a clickable element has another clickable one inside.
    const nested = (el) => {
      for (const child of el.querySelectorAll('*')) if (getComputedStyle(child).display !== 'none' && reacts(child)) return true;
      return false;
    };

    if (document.documentElement) visit(document.documentElement, false);
    flush();
    last = elements;
    paths.clear();
    return JSON.stringify({
      next: nextRef, url: location.href, title: document.title, items, truncated,
      scroll: [Math.round(scrollX), Math.round(scrollY), page ? page.scrollHeight : 0, view.h], inner, hidden,
    });
  };

  const find = (ref) => {
    const el = known.has(ref) ? known.get(ref).deref() : null;
    return el && el.isConnected ? el : null;
  };
  const describe = (el) => {
    const tag = el.localName, role = roleOf(el, tag) || (SHAPES.has(tag) ? 'shape' : 'clickable');
    return { role, name: cut(nameOf(el, tag, role), MAX_NAME) };
  };
  const fail = (why) => JSON.stringify({ why });
  const ok = (more) => JSON.stringify(Object.assign({ ok: true }, more));

  // Scrolls an element into view and gives a point at which a click reaches it.
  const aim = (ref, usable) => {
    const el = find(ref);
    if (!el) return fail('gone');
    const { role, name } = describe(el);
    if (usable && (el.disabled || el.getAttribute('aria-disabled') === 'true' || el.closest('fieldset:disabled, [inert]')))
      return JSON.stringify({ why: 'disabled', role, name });
    let target = el;
    const box = (node) => {
      const all = node.getClientRects();
      for (const r of all) if (r.width > 0 && r.height > 0) return r;
      return null;
    };
    let rect = box(target);
    const ghost = (node) => { const s = getComputedStyle(node); return s.opacity === '0' || s.visibility !== 'visible'; };
    if ((!rect || rect.width < 2 || ghost(el)) && el.labels && el.labels[0] && box(el.labels[0])) { target = el.labels[0]; rect = box(target); }
    if (!rect && el.localName === 'option') return JSON.stringify({ why: 'option', role, name });
    if (!rect) return JSON.stringify({ why: 'invisible', role, name });
    const inside = (r) => r.top >= 0 && r.left >= 0 && r.bottom <= innerHeight && r.right <= innerWidth;
    if (!inside(rect)) { target.scrollIntoView({ block: 'center', inline: 'nearest', behavior: 'instant' }); rect = box(target) || rect; }
    const within = (hit) => {
      for (let node = hit; node; node = node.parentNode || node.host) {
        if (node === target || node === el) return true;
        if (node.localName === 'label' && node.control === el) return true;
      }
      return target.contains(hit);
    };
    const deepest = (x, y) => {
      let hit = document.elementFromPoint(x, y);
      while (hit && hit.shadowRoot) { const inner = hit.shadowRoot.elementFromPoint(x, y); if (!inner || inner === hit) break; hit = inner; }
      return hit;
    };
    let cover = null;
    for (const r of target.getClientRects()) {
      if (r.width <= 0 || r.height <= 0) continue;
      const left = Math.max(r.left, 0), right = Math.min(r.right, innerWidth);
      const top = Math.max(r.top, 0), bottom = Math.min(r.bottom, innerHeight);
      for (const [fx, fy] of [[.5, .5], [.5, .25], [.25, .5], [.75, .5], [.5, .75], [.1, .5], [.9, .5], [.05, .05], [.95, .95]]) {
        const x = left + (right - left) * fx, y = top + (bottom - top) * fy;
        const hit = deepest(x, y);
        if (hit && within(hit)) return ok({ x, y, role, name, draggable: !!el.closest('[draggable=true],a[href],img') });
        cover = cover || hit;
      }
    }
    const by = cover ? describe(cover) : null;
    return JSON.stringify({ why: 'covered', role, name, by: by ? `${cover.localName} "${by.name}"` : 'nothing (it is clipped)' });
  };

  const fire = (el, ...kinds) => kinds.forEach((kind) => el.dispatchEvent(new Event(kind, { bubbles: true, composed: true })));
  const same = (a, b) => squash(a).toLowerCase() === squash(b).toLowerCase();

  // Chooses an option by its label or value; the environment reports what there is otherwise.
  const choose = (ref, wanted) => {
    const el = find(ref);
    if (!el) return fail('gone');
    const { role, name } = describe(el);
    if (el.localName !== 'select') return JSON.stringify({ why: 'no select', role, name });
    if (el.disabled) return JSON.stringify({ why: 'disabled', role, name });
    const all = Array.from(el.options);
    let found = all.filter((o) => squash(o.label || o.text) === squash(wanted));
    if (!found.length) found = all.filter((o) => o.value === wanted);
    if (!found.length) found = all.filter((o) => same(o.label || o.text, wanted));
    if (!found.length) return JSON.stringify({ why: 'no option', role, name, options: all.slice(0, 30).map((o) => squash(o.label || o.text)) });
    if (found[0].disabled) return JSON.stringify({ why: 'disabled option', role, name });
    el.focus();
    if (el.multiple) found[0].selected = !found[0].selected; else el.selectedIndex = found[0].index;
    fire(el, 'input', 'change');
    return ok({ role, name });
  };

  // Prepares a field for typing: focused, its text selected. Fields that have no text are set.
  const edit = (ref, text) => {
    const el = find(ref);
    if (!el) return fail('gone');
    const { role, name } = describe(el);
    if (el.disabled || el.readOnly) return JSON.stringify({ why: el.disabled ? 'disabled' : 'readonly', role, name });
    el.scrollIntoView({ block: 'nearest', behavior: 'instant' });
    if (el.localName === 'input' && /^(date|time|datetime-local|month|week|color|range)$/.test(el.type)) {
      el.focus();
      el.value = text;
      if (el.value !== text && !(el.type === 'range' && Number(el.value) === Number(text)))
        return JSON.stringify({ why: 'format', role, name, type: el.type });
      fire(el, 'input', 'change');
      return ok({ role, name, set: true });
    }
    const field = el.localName === 'textarea' || el.localName === 'input' && !/^(checkbox|radio|button|submit|reset|image|file|hidden)$/.test(el.type);
    if (!field && !el.isContentEditable) return JSON.stringify({ why: 'no field', role, name });
    el.focus();
    if (field) el.select(); else getSelection().selectAllChildren(el);
    if (deepActive(document) !== el && !el.contains(deepActive(document))) return JSON.stringify({ why: 'no focus', role, name });
    return ok({ role, name, set: false });
  };

  const checked = (ref) => {
    const el = find(ref);
    if (!el) return fail('gone');
    const { role, name } = describe(el);
    const box = el.localName === 'input' && (el.type === 'checkbox' || el.type === 'radio');
    const aria = el.getAttribute('aria-checked');
    if (!box && aria === null) return JSON.stringify({ why: 'no checkbox', role, name });
    return ok({ role, name, on: box ? el.checked : aria === 'true', radio: el.type === 'radio' || role === 'radio' });
  };

  const focus = (ref) => {
    const el = find(ref);
    if (!el) return fail('gone');
    el.focus();
    return ok(describe(el));
  };

  const scroll = (ref, direction) => {
    let el = ref ? find(ref) : null;
    if (ref && !el) return fail('gone');
    const can = (node) => node.scrollHeight > node.clientHeight + 1 && /(auto|scroll|overlay)/.test(getComputedStyle(node).overflowY);
    while (el && !can(el)) el = el.parentElement;
    const page = document.scrollingElement || document.documentElement;
    let target = el || page;
    if (!el && page.scrollHeight <= innerHeight + 1) {
      // The page itself does not scroll: take its largest pane that does.
      let best = 0;
      for (const node of document.querySelectorAll('*')) {
        const area = node.clientWidth * node.clientHeight;
        if (area > best && can(node)) { best = area; target = node; }
      }
    }
    const before = target.scrollTop, step = Math.round((target === page ? innerHeight : target.clientHeight) * 0.8);
    target.scrollBy({ top: direction === 'up' ? -step : step, behavior: 'instant' });
    return ok({ moved: target.scrollTop !== before });
  };

  const show = (ref) => {
    const el = find(ref);
    if (!el) return fail('gone');
    el.scrollIntoView({ block: 'center', behavior: 'instant' });
    return ok({});
  };
  const showItem = (index) => {
    if (last[index] && last[index].isConnected) last[index].scrollIntoView({ block: 'center', behavior: 'instant' });
    return ok({});
  };

  // Where the content of the `index`-th child frame begins in this frame's viewport.
  const frameAt = (index) => {
    for (const el of document.querySelectorAll('iframe, frame')) {
      if (el.contentWindow === frames[index]) {
        const box = el.getBoundingClientRect();
        return JSON.stringify([box.left + el.clientLeft, box.top + el.clientTop]);
      }
    }
    return 'null';
  };

  // After a restore: the items are the same, so they get the references they had.
  const rebind = (pairs) => {
    const found = pairs.map(([from, to]) => [find(from), to]);
    for (const [from] of pairs) known.delete(from);
    for (const [el, to] of found) if (el) { refs.set(el, to); known.set(to, new WeakRef(el)); }
  };

  // After going back in history: the keyboard and the scroll position as they were.
  const goBackTo = (ref, x, y) => {
    const wanted = ref ? find(ref) : null, has = deepActive(document);
    if (wanted && wanted !== has) wanted.focus({ preventScroll: true });
    else if (!wanted && has) has.blur();
    scrollTo({ left: x, top: y, behavior: 'instant' });
    return ok({});
  };

  const text = (selector) => {
    const el = selector ? document.querySelector(selector) : document.body;
    return JSON.stringify(el ? squash(el.innerText === undefined ? el.textContent : el.innerText) : null);
  };

  globalThis.branchline = Object.freeze({ walk, aim, choose, edit, checked, focus, scroll, show, showItem, frameAt, rebind, goBackTo, text });
})();
