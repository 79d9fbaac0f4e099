// The page's own script: hear that something changed, let htmx fetch the live part again, keep what the reader has.
(() => {
  "use strict";
  const FASTEST = 400, HIDDEN = 10000;  // milliseconds; a hidden page still tells trouble by its title
  const live = () => document.getElementById("live");
  const url = document.body.dataset.live;
  const sign = document.getElementById("live-sign");
  let source = null, last = 0, timer = 0, silent = 0, busy = false, again = false;

  const show = (state) => {
    if (!sign || sign.dataset.state === state) return;
    sign.dataset.state = state;
    sign.textContent = state === "on" ? sign.dataset.on : sign.dataset.off;
  };

  // A reader who marks text or fills something in within the live part is not interrupted.
  const reading = () => {
    const part = live(), marked = document.getSelection();
    if (!part) return true;
    const at = document.activeElement;
    if (at && part.contains(at) && at.matches("input:not([type=checkbox]), select, textarea")) return true;
    return !!marked && !marked.isCollapsed && part.contains(marked.anchorNode);
  };

  const refresh = () => {
    timer = 0;
    if (reading() || busy) { again = true; return; }
    busy = true; again = false; last = Date.now();
    htmx.trigger(live(), "changed");
  };
  const changed = () => {
    if (!live() || timer) return;
    timer = setTimeout(refresh, Math.max(0, last + (document.hidden ? HIDDEN : FASTEST) - Date.now()));
  };

  const open = () => {
    if (!url || source || !live()) return;
    source = new EventSource(url);
    source.onopen = () => { clearTimeout(silent); silent = 0; show("on"); };
    source.onerror = () => {
      // A stream ends now and then and is opened again at once: only a lasting silence is worth a word.
      silent = silent || setTimeout(show, 4000, "off");
      if (source && source.readyState === EventSource.CLOSED) { source = null; setTimeout(open, 3000); }
    };
    source.addEventListener("changed", changed);
  };
  const close = () => { if (source) { source.close(); source = null; } };

  const localTimes = (part) => {
    for (const t of part.querySelectorAll("time[datetime]")) {
      const at = new Date(t.dateTime);
      if (isNaN(at)) continue;
      const today = at.toDateString() === new Date().toDateString();
      const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
      if (t.hasAttribute("data-short")) delete clock.second;
      t.title = t.dateTime;
      t.textContent = at.toLocaleString(document.documentElement.lang,
        today ? clock : { month: "short", day: "numeric", ...clock });
    }
  };

  // The title and the icon tell of trouble, to a reader who has the page in another tab.
  const alarm = () => {
    const told = document.querySelector("[data-alarm]");
    if (!told) return;
    const count = Number(told.dataset.alarm), plain = document.title.replace(/^\(\d+\) /, "");
    document.title = count ? `(${count}) ${plain}` : plain;
    const icon = document.querySelector("link[rel=icon]"), wanted = count ? icon.dataset.bad : icon.dataset.good;
    if (icon.getAttribute("href") !== wanted) icon.setAttribute("href", wanted);
    // Read aloud once when it changes, not with each second's ages and counts.
    const speaker = document.getElementById("speaker"), said = told.dataset.said || "";
    if (speaker && speaker.textContent !== said) speaker.textContent = said;
  };

  // Texts that the reader has opened, picks, typed text and focus are put back when the live part was replaced.
  const opened = new Set(), picked = new Set(), typed = new Map();
  let focused = null;
  const nth = (el) => [...live().querySelectorAll(`a[href="${CSS.escape(el.getAttribute("href"))}"]`)].indexOf(el);
  document.addEventListener("htmx:beforeSwap", (e) => {
    opened.clear(); picked.clear(); typed.clear(); focused = null;
    const part = live();
    for (const d of part ? part.querySelectorAll("details[open][id]") : []) opened.add(d.id);
    for (const c of part ? part.querySelectorAll("input[type=checkbox]:checked[id]") : []) picked.add(c.id);
    for (const i of part ? part.querySelectorAll("input[id]:not([type=checkbox]):not([type=hidden])") : []) {
      if (i.value !== i.defaultValue) typed.set(i.id, i.value);
    }
    const at = document.activeElement;
    if (part && at && part.contains(at)) {
      focused = { id: at.id, href: at.getAttribute("href"), nth: at.getAttribute("href") ? nth(at) : 0 };
    }
    // The error is shown in place of the old content: old figures must not pass for new ones.
    if (e.detail.xhr.status >= 404) { e.detail.shouldSwap = true; e.detail.isError = false; }
    if (e.detail.xhr.status === 401) { e.detail.shouldSwap = false; location.reload(); }
  });
  const refocus = () => {
    const part = live();
    if (!focused || !part || part.contains(document.activeElement)) return;
    const same = focused.href ? part.querySelectorAll(`a[href="${CSS.escape(focused.href)}"]`) : [];
    const to = (focused.id && document.getElementById(focused.id)) || same[focused.nth] || same[0];
    if (to) { to.focus({ preventScroll: true }); return; }
    part.tabIndex = -1;  // it is gone: the next Tab goes on from here, not from the top of the page
    part.focus({ preventScroll: true });
  };
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) { const d = document.getElementById(id); if (d) d.open = true; }
    for (const id of picked) { const c = document.getElementById(id); if (c) c.checked = true; }
    for (const [id, value] of typed) { const i = document.getElementById(id); if (i) i.value = value; }
    refocus(); localTimes(live() || document); count();
  });
  document.addEventListener("htmx:oobAfterSwap", alarm);
  document.addEventListener("htmx:afterRequest", () => { busy = false; if (again) changed(); });
  document.addEventListener("selectionchange", () => { if (again && !reading()) changed(); });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) { clearTimeout(timer); timer = 0; open(); changed(); }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (e) => { if (e.persisted) { open(); changed(); } });

  // A reader who opens a pause types its reason next.
  document.addEventListener("toggle", (e) => {
    const box = e.target;
    if (!box.matches("details.pause") || !box.open || document.activeElement !== box.querySelector("summary")) return;
    box.querySelector("input[name=reason]").focus();
  }, true);

  // Rows that are picked.
  const boxes = () => [...document.querySelectorAll("#jobs tbody input[type=checkbox]")];
  const count = () => {
    const all = document.getElementById("pick-all"), words = document.getElementById("picked-count");
    if (!words) return;
    const on = boxes().filter((c) => c.checked).length;
    words.textContent = words.dataset.words.replace("#", on);
    for (const b of document.querySelectorAll("#picked button")) b.disabled = !on;
    if (all) { all.hidden = false; all.checked = on > 0 && on === boxes().length; all.indeterminate = on > 0 && !all.checked; }
  };
  document.addEventListener("change", (e) => {
    if (e.target.id === "pick-all") for (const c of boxes()) c.checked = e.target.checked;
    if (e.target.matches("#jobs input")) count();
  });

  // A time that is typed without a zone is the reader's.
  const date = /^(\d{4})-(\d{2})-(\d{2})(?:[T ](\d{2}):(\d{2})(?::(\d{2}))?)?$/;
  document.addEventListener("submit", (e) => {
    if (!e.target.matches("[data-zone]")) return;
    for (const input of e.target.querySelectorAll("[name=from], [name=to]")) {
      const d = date.exec(input.value.trim());
      if (!d) continue;
      const at = new Date(d[1], d[2] - 1, d[3], d[4] || 0, d[5] || 0, d[6] || 0), away = -at.getTimezoneOffset();
      const two = (n) => String(Math.floor(Math.abs(n))).padStart(2, "0");
      input.value = `${d[1]}-${d[2]}-${d[3]} ${d[4] || "00"}:${d[5] || "00"}${away < 0 ? "-" : "+"}${two(away / 60)}:${two(away % 60)}`;
    }
    for (const input of e.target.querySelectorAll("input:not([type=checkbox])")) if (!input.value) input.disabled = true;
  });
  addEventListener("pageshow", () => { for (const i of document.querySelectorAll("#filters input:disabled")) i.disabled = false; });

  // Views by name. The address is the view; its name is this browser's.
  const views = document.getElementById("views");
  const stored = () => { try { return JSON.parse(localStorage.getItem("pgbaton views")) || []; } catch { return []; } };
  const store = (list) => { try { localStorage.setItem("pgbaton views", JSON.stringify(list)); } catch { /* private */ } draw(); };
  const draw = () => {
    if (!views) return;
    while (views.children.length > 1) views.lastElementChild.remove();
    for (const view of stored().filter((one) => one.path === location.pathname)) {
      const link = document.createElement("a"), drop = document.createElement("button");
      link.href = view.path + view.search; link.textContent = view.name;
      if (view.search === location.search) link.setAttribute("aria-current", "true");
      drop.type = "button"; drop.className = "plain"; drop.textContent = "×";
      drop.setAttribute("aria-label", `${views.dataset.drop}: ${view.name}`);
      drop.onclick = () => store(stored().filter((one) => one.path !== view.path || one.name !== view.name));
      const both = document.createElement("span"); both.className = "view"; both.append(link, drop); views.append(both);
    }
    const save = document.createElement("button");
    save.type = "button"; save.className = "tiny"; save.id = "view-save"; save.textContent = views.dataset.save;
    save.onclick = () => {
      const name = (prompt(views.dataset.name) || "").trim().slice(0, 60);
      if (!name) return;
      const others = stored().filter((one) => one.path !== location.pathname || one.name !== name);
      store([...others, { name, path: location.pathname, search: location.search }].slice(-100));
    };
    if (location.search) views.append(save);
    views.hidden = views.children.length < 2;
  };

  // Keys: g and a letter goes to a page, / to the filter, ? to the list of them.
  const keys = document.getElementById("keys");
  let g = 0;
  document.addEventListener("keydown", (e) => {
    if (!keys || e.ctrlKey || e.metaKey || e.altKey || e.isComposing) return;
    if (e.target.matches("input:not([type=checkbox]), select, textarea") || keys.open) return;
    const went = Date.now() - g < 1500;
    g = e.key === "g" ? Date.now() : 0;
    if (went) {
      const link = document.querySelector(`.nav a[data-key="${CSS.escape(e.key)}"]`);
      if (link) { e.preventDefault(); link.click(); }
    } else if (e.key === "/") {
      const field = document.querySelector("#filters input");
      if (field) { e.preventDefault(); field.focus(); } else { e.preventDefault(); document.querySelector('.nav a[data-key="j"]').click(); }
    } else if (e.key === "?") { e.preventDefault(); keys.showModal(); }
  });
  document.getElementById("keys-open")?.addEventListener("click", () => keys.showModal());

  if (sign && !live()) sign.hidden = true;
  localTimes(document); count(); draw(); alarm();
  open();
})();
