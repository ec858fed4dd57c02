// Makes the component. `weft plugin watch` gives each build a version of its own, which stands in WEFT_PLUGIN_VERSION.
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const { name, version } = JSON.parse(readFileSync("package.json", "utf8"));
const script = readFileSync("plugin.js", "utf8").replaceAll("PACKAGE_VERSION", process.env.WEFT_PLUGIN_VERSION ?? version);
mkdirSync("build", { recursive: true });
writeFileSync("build/plugin.js", script);
const world = ["--wit", "wit", "--world", "component", "--sync"];
execFileSync("node_modules/.bin/componentize-qjs", [...world, "--js", "build/plugin.js", "--output", `${name}.wasm`], { stdio: "inherit" });
