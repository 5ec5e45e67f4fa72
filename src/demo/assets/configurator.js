// "Build your own lamp". All state lives in this closure; a reload forgets it.
(() => {
  "use strict";
  const root = document.getElementById("configurator");
  const state = { steps: [], apart: [], chosen: [], sent: null, error: null };

  const money = (cents) => "€" + Math.floor(cents / 100) + "." + String(cents % 100).padStart(2, "0");

  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "onclick") element.addEventListener("click", value);
      else element.setAttribute(key, value);
    }
    element.append(...children);
    return element;
  };

  const fits = (option) =>
    !state.chosen.some((other) =>
      state.apart.some((pair) => pair.includes(option.id) && pair.includes(other.id)));

  const total = () => state.chosen.reduce((sum, option) => sum + option.cents, 0);

  const choose = (option) => {
    state.chosen.push(option);
    render();
  };

  const back = () => {
    state.chosen.pop();
    state.error = null;
    render();
  };

  const restart = () => {
    state.chosen = [];
    state.sent = null;
    state.error = null;
    render();
  };

  const add = async (event) => {
    event.currentTarget.disabled = true;
    const form = new URLSearchParams({ csrf: root.dataset.csrf });
    state.steps.forEach((step, at) => form.set(step.id, state.chosen[at].id));
    try {
      const response = await fetch("/api/configurator/cart", { method: "POST", body: form });
      const isJson = (response.headers.get("content-type") || "").startsWith("application/json");
      const answer = isJson ? await response.json() : {};
      if (response.ok) {
        state.sent = answer;
        document.getElementById("cart-link").textContent = `Cart (${answer.pieces})`;
      } else {
        state.error = answer.error || "The shop did not accept this. Please load the page again.";
      }
    } catch {
      state.error = "The shop could not be reached.";
    }
    render();
  };

  const summary = () =>
    make("ol", { class: "chosen", "aria-label": "Your choices" },
      ...state.chosen.map((option) => make("li", {}, `${option.name} ${money(option.cents)}`)));

  const controls = () =>
    make("p", { class: "actions" },
      make("button", { type: "button", class: "second", onclick: back }, "Back"), " ",
      make("button", { type: "button", class: "second", onclick: restart }, "Start over"));

  const render = () => {
    const at = state.chosen.length;
    const parts = [];
    if (state.error) parts.push(make("p", { class: "notice bad", role: "alert" }, state.error));
    if (state.sent) {
      parts.push(
        make("h2", {}, "Your lamp is in the cart"),
        make("p", { class: "notice good", role: "status" }, `Added to your cart for ${state.sent.price}.`),
        summary(),
        make("p", { class: "actions" },
          make("a", { class: "button", href: "/cart" }, "Go to cart"), " ",
          make("button", { type: "button", class: "second", onclick: restart }, "Build another lamp")));
    } else if (at < state.steps.length) {
      const step = state.steps[at];
      parts.push(
        make("p", { class: "count" }, `Step ${at + 1} of ${state.steps.length}`),
        make("h2", {}, step.title),
        make("ul", { class: "options" },
          ...step.options.filter(fits).map((option) =>
            make("li", {},
              make("button", { type: "button", onclick: () => choose(option) },
                `${option.name} +${money(option.cents)}`)))),
        make("p", { class: "total", role: "status" }, `Price so far ${money(total())}`));
      if (at > 0) parts.push(summary(), controls());
    } else {
      parts.push(
        make("h2", {}, "Your lamp"),
        summary(),
        make("p", { class: "total", role: "status" }, `Price ${money(total())}`),
        make("p", { class: "actions" },
          make("button", { type: "button", onclick: add }, "Add lamp to cart")),
        controls());
    }
    root.replaceChildren(...parts);
  };

  fetch("/api/configurator/options")
    .then((response) => response.json())
    .then((data) => {
      state.steps = data.steps;
      state.apart = data.apart;
      render();
    })
    .catch(() => {
      root.replaceChildren(make("p", { class: "notice bad", role: "alert" }, "The choices could not be loaded."));
    });
})();
