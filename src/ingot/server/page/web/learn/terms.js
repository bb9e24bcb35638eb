// Terms of the field: explained after the paragraph where they first stand, and in the glossary.

import { el } from "../shared/elements.js";

const MARKED = /\[([^\]]+)\]/g;

const termOf = (content, form) =>
  content.terms.find(({ name, forms = [] }) =>
    [name, ...forms].some((each) => each.toLowerCase() === form.toLowerCase()),
  );

// Returns elements for paragraphs in which [brackets] mark the terms that they explain.
export function paragraphs(content, texts) {
  return (texts ?? []).flatMap((text) => {
    const marked = [...text.matchAll(MARKED)].map(([, form]) => form);
    // Of a text split by a pattern with one group every second part is what the group matched.
    const parts = text.split(MARKED).map((part, index) => (index % 2 ? el("dfn", {}, part) : part));
    const meanings = marked.map((form) => meaning(termOf(content, form)));
    return [el("p", {}, parts), ...meanings];
  });
}

const meaning = ({ name, text }) =>
  el("p", { class: "meaning" }, el("strong", {}, name), ` ${text}`);

export function glossary(content) {
  const terms = [...content.terms].sort((a, b) => a.name.localeCompare(b.name));
  return el(
    "details",
    { class: "glossary" },
    el("summary", {}, "Glossary"),
    el(
      "dl",
      {},
      terms.map(({ name, text }) => [el("dt", {}, name), el("dd", {}, text)]),
    ),
  );
}
