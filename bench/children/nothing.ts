/** A process that does nothing: what any takes. */
console.log(0);
