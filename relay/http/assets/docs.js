"use strict";

// Sends what a "Try it" form holds to the relay that served this page, and shows the answer. Nothing is stored.

function readForm(form) {
  let path = form.dataset.path;
  const query = new URLSearchParams();
  const headers = { Authorization: `Bearer ${document.getElementById("key").value.trim()}` };
  for (const input of form.querySelectorAll("input[data-in]")) {
    const value = input.value.trim();
    if (input.dataset.in === "path") path = path.replace(`{${input.name}}`, encodeURIComponent(value));
    else if (value && input.dataset.in === "query") query.set(input.name, value);
    else if (value) headers[input.name] = value;
  }
  const body = form.elements.namedItem("body");
  if (body) headers["Content-Type"] = body.dataset.media;
  const search = query.size ? `?${query}` : "";
  return [path + search, { method: form.dataset.method, headers, body: body ? body.value : undefined }];
}

async function answer(response) {
  const text = await response.text();
  try {
    return `${response.status}\n${JSON.stringify(JSON.parse(text), null, 2)}`;
  } catch {
    return `${response.status}\n${text}`;
  }
}

for (const form of document.querySelectorAll(".try form")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    const output = form.querySelector("output");
    button.disabled = true;
    output.textContent = "…";
    try {
      output.textContent = await answer(await fetch(...readForm(form)));
    } catch {
      output.textContent = "No answer: the message may have been sent. Look it up before you send it again.";
    } finally {
      button.disabled = false;
    }
  });
}

document.getElementById("key-form")?.addEventListener("submit", (event) => event.preventDefault());

// Shows only the sections, and the links to them, whose text has every word that is searched for.
const search = document.getElementById("search");
if (search) {
  const links = new Map([...document.querySelectorAll('nav a[href^="#"]')].map((link) => [link.hash.slice(1), link]));
  const sections = [...document.querySelectorAll("main section[id]")];
  search.parentElement.hidden = false;
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const section of sections) {
      const text = `${section.id} ${section.textContent}`.toLowerCase();
      section.hidden = !words.every((word) => text.includes(word));
      const item = links.get(section.id)?.closest("li");
      if (item) item.hidden = section.hidden;
    }
  });
}
