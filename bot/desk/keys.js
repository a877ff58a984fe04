// Keyboard shortcuts of the review page; they press the buttons one sees, and nothing else.
() => {
  const buttons = { j: "desk-next", k: "desk-back", a: "desk-approve", x: "desk-reject" };
  const visible = (element) => element && element.offsetParent !== null;
  const press = (element) => visible(element) && element.click();
  const button = (id) => document.querySelector(`button#${id}, #${id} button`);
  const typing = (target) =>
    target.matches("textarea, select, [contenteditable=true], input:not([type=radio])");

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const inPreferred = event.target.closest("#desk-preferred") !== null;
      press(button(inPreferred ? "desk-prefer" : "desk-save"));
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (event.key in buttons) press(button(buttons[event.key]));
    const verdict = document.querySelectorAll("#desk-verdict input")[Number(event.key) - 1];
    if (/^[1-7]$/.test(event.key)) press(verdict);
  });
}
