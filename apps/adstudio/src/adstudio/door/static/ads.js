// Everything here works without it, only less smoothly: forms post, and the page of an ad has a link to load it anew.
"use strict";

const EVERY = 1500; // milliseconds between two looks at a job that moves

function tellTimes(root) {
  for (const time of root.querySelectorAll("time")) {
    time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  }
}

async function watch() {
  const live = document.getElementById("live");
  if (!live || !("moves" in live.dataset)) return;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    if (answer.ok && fresh) {
      tellTimes(fresh);
      if (fresh.outerHTML !== live.outerHTML) live.replaceWith(fresh);
    }
  } catch { /* the server is away for a moment: the next look comes */ }
  setTimeout(watch, EVERY);
}

// Sent by script, a form that is refused keeps what was typed into it.
async function send(event) {
  const form = event.target;
  if (!["order", "decision", "brand"].includes(form.id)) return;
  event.preventDefault();
  const fault = form.querySelector("#fault");
  const button = event.submitter;
  const label = button.textContent;
  const body = new FormData(form, button); // before the button is disabled, or it would not say which it is
  fault.hidden = true;
  button.disabled = true;
  if (form.dataset.sending) button.textContent = form.dataset.sending;
  try {
    const answer = await fetch(form.action, { method: "POST", body, headers: { accept: "application/json" } });
    const said = await answer.json();
    if (answer.ok) {
      location.assign(said.url || location.href);
      return;
    }
    fault.textContent = said.detail;
  } catch (error) {
    fault.textContent = String(error.message || error);
  }
  fault.hidden = false;
  fault.scrollIntoView({ block: "nearest" });
  button.disabled = false;
  button.textContent = label;
}

function preview(event) {
  const image = document.getElementById("preview");
  if (event.target.id !== "photo" || !image) return;
  const [file] = event.target.files;
  image.hidden = !file;
  if (file) image.src = URL.createObjectURL(file);
}

document.addEventListener("submit", send);
document.addEventListener("change", preview);
tellTimes(document);
setTimeout(watch, EVERY);
