// What a search shows first: what explains, then the API, then the source. A part of a name counts for nothing: "eps"
// is no sweeps. The other numbers are Sphinx's.
var Scorer = {
  score: ([page, , , , score]) => score - (page.startsWith("code/") ? 20 : page.startsWith("api/") ? 10 : 0),
  objNameMatch: 11,
  objPartialMatch: 0,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
