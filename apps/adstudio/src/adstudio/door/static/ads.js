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
  const unread = form.id === "order" && !form.dataset.wasRead && body.get("copy").trim() && !hasRoles(form);
  const reading = button.id === "read" || unread;
  if (reading) {
    body.delete("photo"); // it is not needed to read
    for (const field of roleFields(form)) body.delete(field.name);
  } else if (form.dataset.wasRead) {
    body.delete("copy"); // the roles were seen: they are the copy now
  }
  fault.hidden = true;
  button.disabled = true;
  if (form.dataset.sending) button.textContent = form.dataset.sending;
  try {
    const where = reading ? form.dataset.read : form.action;
    const answer = await fetch(where, { method: "POST", body, headers: { accept: "application/json" } });
    const said = await answer.json();
    if (answer.ok && reading) {
      showRoles(form, said);
      button.disabled = false;
      button.textContent = label;
      return;
    }
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

const roleFields = (form) => form.querySelectorAll("#roles [name]");
const hasRoles = (form) => [...roleFields(form)].some((field) => field.value.trim());

// The copy as it was read, in fields that can be mended. The next "make the ad" sends them in place of the string.
function showRoles(form, said) {
  for (const field of roleFields(form)) field.value = said.copy[field.name] || "";
  form.dataset.wasRead = "yes";
  const doubts = form.querySelector("#doubts");
  doubts.textContent = said.doubts.join(" ");
  doubts.hidden = said.sure;
  sayReading(form, true);
  form.querySelector("#roles").open = true;
  form.querySelector("#roles summary").focus();
  form.querySelector("#roles").scrollIntoView({ block: "nearest" });
}

// Another copy has to be read anew: the fields of the last one go.
function copyChanged(event) {
  const form = event.target.form;
  if (event.target.id !== "copy" || !form.dataset.wasRead) return;
  delete form.dataset.wasRead;
  for (const field of roleFields(form)) field.value = "";
  form.querySelector("#doubts").hidden = true;
  sayReading(form, false);
}

function sayReading(form, read) {
  for (const told of form.querySelectorAll("#roles [data-read]")) {
    told.dataset.before ??= told.textContent;
    told.textContent = read ? told.dataset.read : told.dataset.before;
  }
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
document.addEventListener("input", copyChanged);
document.documentElement.classList.add("scripts");
tellTimes(document);
setTimeout(watch, EVERY);
