// The page's own script: hear that something changed, let htmx fetch the live part again, keep what the reader has.
(() => {
  "use strict";
  const FASTEST = 400;
  const live = () => document.getElementById("live");
  const url = document.body.dataset.live;
  const sign = document.getElementById("live-sign");
  let source = null, last = 0, timer = 0, silent = 0, busy = false, again = false;

  const show = (state) => {
    if (!sign) return;
    sign.dataset.state = state;
    sign.textContent = state === "on" ? sign.dataset.on : sign.dataset.off;
  };

  // A reader who marks text or fills something in within the live part is not interrupted.
  const reading = () => {
    const part = live(), marked = document.getSelection();
    if (!part) return true;
    const at = document.activeElement;
    if (at && part.contains(at) && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) return true;
    return !!marked && !marked.isCollapsed && part.contains(marked.anchorNode);
  };

  const refresh = () => {
    timer = 0;
    if (document.hidden || reading()) { again = true; return; }
    if (busy) { again = true; return; }
    busy = true; again = false; last = Date.now();
    htmx.trigger(live(), "changed");
  };
  const changed = () => {
    if (!live() || timer) return;
    timer = setTimeout(refresh, Math.max(0, last + FASTEST - Date.now()));
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
      t.title = t.dateTime;
      t.textContent = at.toLocaleString(document.documentElement.lang,
        today ? clock : { month: "short", day: "numeric", ...clock });
    }
  };

  const opened = new Set();
  document.addEventListener("htmx:beforeSwap", (e) => {
    opened.clear();
    for (const d of document.querySelectorAll("#live details[open][id]")) opened.add(d.id);
    // What went wrong is shown in place of what was there: old figures must not pass for new ones.
    if (e.detail.xhr.status >= 404) { e.detail.shouldSwap = true; e.detail.isError = false; }
    if (e.detail.xhr.status === 401) { e.detail.shouldSwap = false; location.reload(); }
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of opened) { const d = document.getElementById(id); if (d) d.open = true; }
    localTimes(live() || document);
  });
  document.addEventListener("htmx:afterRequest", () => { busy = false; if (again) changed(); });
  document.addEventListener("selectionchange", () => { if (again && !reading()) changed(); });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { close(); } else { open(); changed(); }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (e) => { if (e.persisted) { open(); changed(); } });

  if (sign && !live()) sign.hidden = true;
  localTimes(document);
  open();
})();
