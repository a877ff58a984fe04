// Citations open in a drawer beside the chat; with Ctrl or the middle button, in a new tab.
(() => {
  const isSource = (link) => /^\/turns\/[0-9a-f-]{36}\/passages\/\d+$/.test(link.pathname);
  let drawer, frame, cameFrom;

  function build() {
    drawer = document.createElement("aside");
    drawer.id = "source-drawer";
    drawer.setAttribute("role", "dialog");
    drawer.setAttribute("aria-label", "Source");
    const bar = document.createElement("header");
    const whole = document.createElement("a");
    whole.textContent = "Open in a new tab";
    whole.target = "_blank";
    const shut = document.createElement("button");
    shut.textContent = "Close";
    shut.addEventListener("click", close);
    bar.append(whole, shut);
    frame = document.createElement("iframe");
    frame.title = "Source";
    frame.addEventListener("load", () => frame.contentDocument.addEventListener("keydown", escape));
    drawer.append(bar, frame);
    document.body.append(drawer);
  }

  function open(link) {
    if (!drawer) build();
    cameFrom = link;
    // A new frame address that differs only after # would not be fetched again.
    frame.src = "about:blank";
    setTimeout(() => { frame.src = link.href; });
    drawer.querySelector("a").href = link.href;
    drawer.classList.add("open");
    drawer.querySelector("button").focus();
  }

  function close() {
    drawer.classList.remove("open");
    frame.src = "about:blank";
    if (cameFrom && cameFrom.isConnected) cameFrom.focus();
  }

  function escape(event) {
    if (event.key === "Escape" && drawer && drawer.classList.contains("open")) close();
  }

  document.addEventListener("keydown", escape);
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href]");
    if (!link || !isSource(link) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    event.stopPropagation();
    open(link);
  }, true);
})();

// Gradio names each message by its raw Markdown; the text inside reads better.
new MutationObserver((changes) => {
  for (const { target } of changes) {
    if (target.matches('[data-testid="user"], [data-testid="bot"]')) target.removeAttribute("aria-label");
  }
}).observe(document.documentElement, { attributes: true, attributeFilter: ["aria-label"], subtree: true });

// On a phone the list of conversations covers the chat: it starts folded and folds after a choice.
(() => {
  const narrow = matchMedia("(max-width: 768px)");
  const fold = () => document.querySelector("#sidebar.open .toggle-button")?.click();
  const waiting = new MutationObserver(() => {
    if (!document.querySelector("#sidebar.open")) return;
    waiting.disconnect();
    const folding = setInterval(() => {
      if (narrow.matches && document.querySelector("#sidebar.open")) return fold();
      clearInterval(folding);
      document.body.classList.add("menu-folded");
    }, 150);
  });
  waiting.observe(document.documentElement, { childList: true, subtree: true, attributes: true });
  document.addEventListener("click", (event) => {
    if (narrow.matches && event.target.closest("#new, #talks label, #really")) fold();
  });
})();
