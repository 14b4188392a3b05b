import init, { version } from "@flowrl/core";

await init();
document.getElementById("answer").textContent = `flowrl ${version()}`;
