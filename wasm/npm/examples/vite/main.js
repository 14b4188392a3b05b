import init, { Landscape, Race, RaceOptions } from "@flowrl/lab";

await init();
const options = new RaceOptions();
options.addLane("flowrl", 0, 0);
options.addLane("grpo", 0, 0);
const race = Race.onLandscape(Landscape.preset("four-peaks", 16, 0), options);
race.run(600);
document.getElementById("answer").textContent = `FlowRL keeps ${race.measure(0, "modes_found")} of 4 peaks, GRPO ${race.measure(1, "modes_found")}`;
