// A link to something folded opens it.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target?.closest("details") ?? target?.querySelector("details");
  if (details) {
    details.open = true;
    target.scrollIntoView();
  }
}

addEventListener("hashchange", reveal);
reveal();
