// The colour scheme: light, dark, or as the system says. Runs before the first paint.
//
// <html data-scheme> is the scheme that is shown, <html data-theme> what was chosen. The document
// receives "schemechange" when what is shown changes, for what the style sheet cannot reach.

(() => {
  const CHOICES = ["system", "light", "dark"];
  const KEY = "ingot.theme";
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;

  function show(choice) {
    const scheme = choice === "system" ? (system.matches ? "dark" : "light") : choice;
    root.dataset.theme = choice;
    if (root.dataset.scheme === scheme) return;
    root.dataset.scheme = scheme;
    document.dispatchEvent(new Event("schemechange"));
  }

  function stored() {
    try {
      const choice = localStorage.getItem(KEY);
      return CHOICES.includes(choice) ? choice : "system";
    } catch {
      return "system"; // this browser keeps nothing
    }
  }

  document.addEventListener("themechoice", ({ detail }) => {
    try {
      localStorage.setItem(KEY, detail);
    } catch {
      // The choice then lasts until the page is closed.
    }
    show(detail);
  });
  system.addEventListener("change", () => show(root.dataset.theme));
  show(stored());
})();
