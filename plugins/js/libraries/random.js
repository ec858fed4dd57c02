// In the place of `seedrandom`, which would be seeded once, when the plugin is built.
export default () => () => Math.random();
