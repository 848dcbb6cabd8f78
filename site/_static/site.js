// What is wider than the page is scrolled by keyboard, too; sidebars and the search have names.
addEventListener("load", () => {
  for (const each of document.querySelectorAll("article pre, .table-wrapper, .output")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
  const names = { ".sidebar-drawer": "Site", ".toc-drawer": "This page" };
  for (const [where, name] of Object.entries(names)) {
    const found = document.querySelector(where);
    if (found) found.ariaLabel = name;
  }
  const head = Object.assign(document.createElement("h1"), { textContent: "Search" });
  document.querySelector("#search-results")?.before(head); // the theme's page has none
});
