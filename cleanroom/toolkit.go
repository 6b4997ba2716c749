package cleanroom

// toolkits is under what keys of the evidence store the toolkits lie, each under the
// SHA-256 of its manifest.
const toolkits = "toolkits"
