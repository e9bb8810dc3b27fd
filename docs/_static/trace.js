// A text field above the cards of the trace; it leaves those with all of its words.
const cards = [...document.querySelectorAll(".trace-card")];
const texts = new Map(cards.map((card) => [card, card.textContent.toLowerCase()]));
const bar = document.createElement("p");
bar.className = "trace-filter";
bar.innerHTML = '<label>Show only <input type="search" placeholder="backward mabn"></label> <output></output>';
cards[0].before(bar);
const [field, count] = [bar.querySelector("input"), bar.querySelector("output")];

function filter() {
  const wanted = field.value.toLowerCase().split(/\s+/);
  for (const card of cards) {
    card.hidden = !wanted.every((word) => texts.get(card).includes(word));
  }
  count.textContent = `${cards.filter((card) => !card.hidden).length} of ${cards.length} equations`;
}

field.addEventListener("input", filter);
filter();
