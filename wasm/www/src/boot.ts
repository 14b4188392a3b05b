// Everything that the page and its workers run is one file: a few kilobytes once, instead of the same ones in each.

import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/map.css";
import "./styles/math.css";
import "./styles/page.css";
import "./styles/race.css";
import "./styles/fails.css";
import "./styles/glossary.css";
import "./styles/gradient.css";
import "./styles/runs.css";
import "./styles/teacher.css";
import "./styles/tour.css";
import "./styles/tree.css";
import "./styles/update.css";
import { runRace } from "./engine/worker";
import { startPage } from "./main";
import { runMap } from "./panels/map/worker";

/** What runs in a worker of this name. */
const workers: Readonly<Record<string, () => void>> = { race: runRace, map: runMap };

if ("document" in globalThis) void startPage();
else workers[self.name]?.();
