"""Prompts of the planted pool: what a question says about its subtopic and its difficulty.

A prompt is one template of its benchmark with five fillers in it. Three fillers are phrases that hint at
the subtopic, two hint at the difficulty cue: a tone word, and the number of steps. Every filler is drawn
on its own from P(word | subtopic, cue), and the template and the wording of the steps depend on neither,
so what a perfect reader can infer is known exactly (`posterior`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

N_SUBTOPICS, N_CUES = 8, 5
TOPIC_SLOTS = ("subject", "partner", "place")  # each names the subtopic, mistaken at rate `blur`
CUE_SLOTS = ("tone", "steps")  # each names the difficulty cue, mistaken at rate `blur`

# Easiest first. All begin with a consonant, so that "a {tone}" is right for each.
TONES = (
    ("simple", "basic", "short", "plain"),
    ("standard", "routine", "familiar", "common"),
    ("medium", "mixed", "middling", "moderate"),
    ("tricky", "demanding", "tough", "thorny"),
    ("fiendish", "punishing", "brutal", "notorious"),
)


class Benchmark(NamedTuple):
    """The invented stand-in for one of the paper's ten benchmarks.

    Attributes
    ----------
    skill : str
        The kind of fine-tune that has a gift for it, one of ``simulated.SKILLS``.
    share : float
        Its part of all questions, relative to the other benchmarks.
    guess : float
        Chance that a blind guess is right, by its answer format; 0 for free answers.
    templates, steps : tuple of str
        Sentences with one place for each slot; clauses that lengthen a question.
    subtopics : tuple of str
        One line each: phrases for subject | partner | place, separated by commas.
    """

    skill: str
    share: float
    guess: float
    templates: tuple[str, ...]
    steps: tuple[str, ...]
    subtopics: tuple[str, ...]


def phrases(benchmark: Benchmark) -> list[list[list[str]]]:
    """The phrases of a benchmark as ``[slot][subtopic][choice]``, slots in the order of `TOPIC_SLOTS`."""
    lines = [[part.split(",") for part in line.split("|")] for line in benchmark.subtopics]
    return [[[phrase.strip() for phrase in line[slot]] for line in lines] for slot in range(len(TOPIC_SLOTS))]


def draw_hints(
    subtopic: np.ndarray, cue: np.ndarray, blur: float, rng: np.random.Generator
) -> np.ndarray:
    """Draw what each filler of each question hints at.

    A filler hints at the true value with probability 1 - blur and at any value alike otherwise.

    Parameters
    ----------
    subtopic, cue : ndarray of int, shape (n_questions,)
        True values, counted from 0.
    blur : float in [0, 1]
        0: every filler tells the truth; 1: the text tells nothing.

    Returns
    -------
    ndarray of int, shape (n_questions, 5)
        The subtopics hinted at by the `TOPIC_SLOTS`, then the cues hinted at by the `CUE_SLOTS`.
    """
    truth = np.column_stack([subtopic] * len(TOPIC_SLOTS) + [cue] * len(CUE_SLOTS))
    options = [N_SUBTOPICS] * len(TOPIC_SLOTS) + [N_CUES] * len(CUE_SLOTS)
    return np.where(rng.random(truth.shape) < blur, rng.integers(options, size=truth.shape), truth)


def posterior(hints: np.ndarray, blur: float) -> np.ndarray:
    """What the best reader knows: P(subtopic, cue | text), by Bayes' rule from a uniform prior.

    Parameters
    ----------
    hints : ndarray of int, shape (n_questions, 5)
        As `draw_hints` gives them. They are all that a text tells: which phrase stands for a
        hint, which template and which steps are used depends on neither subtopic nor cue.
    blur : float in [0, 1]
        As the hints were drawn.

    Returns
    -------
    ndarray of float64, shape (n_questions, 8, 5)
        Sums to 1 over the last two axes.
    """
    subtopic = _posterior(hints[:, : len(TOPIC_SLOTS)], N_SUBTOPICS, blur)
    cue = _posterior(hints[:, len(TOPIC_SLOTS) :], N_CUES, blur)
    return subtopic[:, :, None] * cue[:, None, :]


def write(benchmark: Benchmark, hints: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Write one prompt for each row of `hints`, shape (n_questions, 5), in a benchmark's words."""
    vocabulary = phrases(benchmark)
    template = rng.integers(len(benchmark.templates), size=len(hints))
    choice = rng.random((len(hints), len(TOPIC_SLOTS) + 1))
    order = rng.random((len(hints), len(benchmark.steps))).argsort(axis=1)
    prompts = []
    for row, (*topics, tone, last_step) in enumerate(hints.tolist()):
        groups = [slot[topic] for slot, topic in zip(vocabulary, topics, strict=True)] + [TONES[tone]]
        words = [group[int(u * len(group))] for group, u in zip(groups, choice[row].tolist(), strict=True)]
        steps = [benchmark.steps[step] for step in order[row, : last_step + 1]]
        fillers = dict(zip((*TOPIC_SLOTS, "tone"), words, strict=True), steps=_listed(steps))
        prompts.append(benchmark.templates[template[row]].format(**fillers))
    return prompts


def _posterior(hints: np.ndarray, n_values: int, blur: float) -> np.ndarray:
    """P(value | independent hints), shape (n_questions, n_values)."""
    likelihood = np.full((n_values, n_values), blur / n_values) + (1 - blur) * np.eye(n_values)
    joint = likelihood[hints].prod(axis=1)  # likelihood is symmetric: [hint, value] = [value, hint]
    return joint / joint.sum(axis=1, keepdims=True)


def _listed(items: list[str]) -> str:
    """The items as an English list: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(items[:-1]), items[-1]]))


BENCHMARKS = {
    "sums": Benchmark(
        skill="math", share=8, guess=0.0,
        templates=(
            "Here is a {tone} sum. With {subject} {place}, {partner} begins "
            "the day. Later {steps}. How many are left?",
            "Work out this {tone} exercise: {partner} counts {subject} {place}, "
            "and then {steps}. Give the number at the end.",
            "Imagine that {partner} keeps {subject} {place}. In this "
            "{tone} question {steps}. What is the total now?",
            "It is a {tone} day {place}, where {partner} has "
            "{subject}. After that {steps}. How many remain?",
            "Let us say {partner} collects {subject} {place}. Then "
            "{steps}. Solve this {tone} sum with one number.",
            "A {tone} arithmetic question: {subject} belong to {partner}, who "
            "stays {place}. Next, {steps}. How many are there?",
            "There are {subject} {place}, and {partner} looks after them. If "
            "{steps}, what does this {tone} sum come to?",
            "As a {tone} exercise, find how many of {subject} are "
            "still {place} with {partner} once {steps}.",
            "Yesterday {partner} put {subject} on a shelf {place}. Since then "
            "{steps}. Write the answer to this {tone} sum.",
            "Please answer a {tone} counting question. We know that {partner} brought "
            "{subject} {place} and that {steps}. How many now?",
        ),
        steps=(
            "nine of them are given away", "twice as many arrive", "a third of the rest is set aside",
            "five more turn up", "four are lost on the way", "two boxes of six are added",
            "a neighbour brings seven", "half of what is left is sold",
        ),
        subtopics=(
            "36 apples, 48 buns, 60 lemons, 24 pies | the grocer, the baker, the cook, the waiter"
            " | at the market, in the kitchen, at the bakery, in the pantry",
            "32 marbles, 54 toy bricks, 40 puppets, 28 kites"
            " | the toymaker, a small child, the puppeteer, a nephew"
            " | in the playroom, at the toy fair, in the nursery, at the fairground",
            "72 pencils, 45 notebooks, 30 rulers, 90 sheets of paper"
            " | the teacher, a pupil, the librarian, the head girl"
            " | in the classroom, at the school gate, in the library, in the staff room",
            "64 hens, 26 lambs, 80 eggs, 18 goats | the farmer, the shepherd, the milkmaid, the vet"
            " | in the barn, at the dairy, in the meadow, at the stable",
            "44 bus tickets, 20 lorries, 56 suitcases, 38 bicycles"
            " | the driver, the conductor, the porter, a commuter"
            " | at the station, in the depot, on the platform, at the airport",
            "84 coins, 25 banknotes, 96 stamps, 42 vouchers"
            " | the cashier, the banker, a collector, the clerk"
            " | at the bank, behind the counter, at the post office, in the vault",
            "52 tulips, 33 seedlings, 70 bulbs, 21 rose bushes"
            " | the gardener, the florist, a botanist, the landscaper"
            " | in the greenhouse, beside the hedge, in the orchard, at the nursery garden",
            "46 footballs, 63 medals, 35 rackets, 50 jerseys"
            " | the coach, the goalkeeper, a referee, the sprinter"
            " | in the stadium, at the gym, on the pitch, in the locker room",
        ),
    ),
    "story-maths": Benchmark(
        skill="math", share=11, guess=0.0,
        templates=(
            "Here is a {tone} story problem. To earn money {place}, {partner} takes on "
            "{subject}. On the way {steps}. What is paid in total?",
            "Suppose {partner} agrees to {subject} {place}, which looks like a {tone} "
            "plan until {steps}. How much is owed at the end?",
            "Think step by step: {partner} is offered {subject} {place}. In "
            "this {tone} problem {steps}. Find the final sum.",
            "This {tone} problem is about {subject}. The work is done by {partner} "
            "{place}, where {steps}. How many dollars does it bring?",
            "At the start {partner} plans {subject} {place}. However, "
            "{steps}. Work out the cost in this {tone} story.",
            "Every week {partner} manages {subject} {place}. This week {steps}. "
            "Answer the {tone} question of how much is earned.",
            "A {tone} multi-part problem follows. The contract is {subject}, done {place} by "
            "{partner}. We learn that {steps}. What is left over?",
            "Before noon {partner} had finished half of {subject} {place}. Then "
            "{steps}. How long does this {tone} task take altogether?",
            "Read this {tone} story: {partner} accepts {subject} {place}, after "
            "which {steps}. State the profit as one number.",
            "If {partner} works {place} on {subject} and {steps}, how much "
            "money changes hands in this {tone} problem?",
        ),
        steps=(
            "the hourly rate rises by two dollars", "a quarter of the order is cancelled",
            "each trip costs three dollars more", "one day is lost to rain", "a helper does a fifth of "
            "the work",
            "a discount of ten percent applies", "the last batch takes twice as long", "the deposit is "
            "refunded",
        ),
        subtopics=(
            "a job of painting 12 rooms, the tiling of 3 bathrooms, the laying of 90 bricks, a roof of "
            "600 slates"
            " | a builder, a painter, a carpenter, a plumber"
            " | on a building site, in an old villa, on a scaffold, at a renovated mill",
            "a delivery of 240 parcels, a round of 75 letters, a freight of 18 pallets, a route of 130 "
            "miles"
            " | a courier, a lorry driver, a postwoman, a dispatcher"
            " | across town, along the motorway, from a warehouse, around the harbour",
            "a banquet for 50 guests, an order of 16 cakes, a batch of 200 biscuits, a menu of 7 courses"
            " | a caterer, a pastry chef, a restaurant owner, a barista"
            " | at a wedding, in a canteen, in a food truck, at a tea house",
            "a course of 10 lessons, a set of 40 exams, a class of 25 students, a term of 14 weeks"
            " | a tutor, a lecturer, a piano teacher, an examiner"
            " | at a college, in a seminar room, at an evening school, in a lecture hall",
            "a harvest of 300 sacks, a herd of 45 cows, a field of 8 acres, a vineyard of 70 rows"
            " | a farmhand, a winegrower, a cattle breeder, a beekeeper"
            " | in a dry valley, on a hillside farm, at a cooperative, beside the river fields",
            "a stock of 120 shirts, a sale of 35 coats, a rack of 64 dresses, a crate of 80 shoes"
            " | a tailor, a shop assistant, a fashion buyer, a cobbler"
            " | in a boutique, at a clearance sale, in a department store, at a flea market",
            "a tour of 9 concerts, a run of 22 shows, a film of 95 minutes, an album of 11 songs"
            " | a drummer, a stage manager, a film director, a singer"
            " | in a theatre, at a festival, in a recording studio, on an open-air stage",
            "a loan of 900 dollars, a fund of 5000 dollars, a lease of 24 months, a policy of 60 payments"
            " | an accountant, an investor, an insurance agent, a landlord"
            " | at a brokerage, in a tax office, through a credit union, at an auction house",
        ),
    ),
    "quantities": Benchmark(
        skill="math", share=9, guess=0.2,
        templates=(
            "Choose one of five values. In a {tone} test item {place}, {subject} "
            "has to be found from {partner}. Given: {steps}.",
            "A {tone} multiple-choice problem {place} gives {partner} and asks for "
            "{subject}. It also says that {steps}. Which option is right?",
            "What is {subject} if {partner} is known {place} and {steps}? "
            "Pick one option of this {tone} question.",
            "For a {tone} quantitative problem {place}, use {partner} to work out "
            "{subject}, where {steps}. Mark a, b, c, d or e.",
            "Candidates meet a {tone} task {place}: {partner} is printed in the stem, "
            "{steps}, and {subject} is wanted. Select the value.",
            "Let {partner} be fixed {place}. Assume that {steps}. Then "
            "{subject} equals which option of this {tone} item?",
            "We look for {subject} {place}. We are told {partner}, and further "
            "that {steps}. Choose from five {tone} options.",
            "Here is a {tone} item: compute {subject} {place} by means of "
            "{partner}, noting that {steps}. Tick one of five.",
            "By means of {partner}, a student {place} must find {subject}. The {tone} "
            "text adds that {steps}. Which value is correct?",
            "It is a {tone} matter to get {subject} out of {partner} {place} "
            "when {steps}. Which of the five answers holds?",
        ),
        steps=(
            "the total is 120", "the first term is three times the second", "no value is negative",
            "the units are halved", "one entry is counted twice", "the result is rounded down",
            "the remainder is 4", "two of the numbers are equal",
        ),
        subtopics=(
            "the area of the triangle, the radius of the circle, the diagonal of the square, the volume "
            "of the cone"
            " | the side lengths, the perimeter, the angle at the vertex, the height"
            " | on a geometry sheet, in a floor plan, on a grid of points, in a technical drawing",
            "the chance of a red ball, the odds of two sixes, the number of hands, the expected draw"
            " | the count of marbles, the number of dice, the size of the deck, the rule of the lottery"
            " | at a card table, in a game of chance, at a raffle, in a casino story",
            "the speed of the train, the time to overtake, the distance run, the upstream pace"
            " | the departure times, the current of the stream, the length of the track, the average "
            "velocity"
            " | on a railway line, in a boat race, on a circular course, on a long road",
            "the compound interest, the selling price, the marked price, the yearly profit"
            " | the rate of interest, the discount, the principal, the profit margin"
            " | in a ledger, at a wholesale shop, in a savings plan, on an invoice",
            "the share of milk, the strength of the acid, the ratio of copper, the weight of salt"
            " | the concentration, the two mixtures, the proportion of water, the alloy table"
            " | in a laboratory recipe, in a milk can, in a melting pot, in a dilution series",
            "the largest factor, the last digit, the least common multiple, the sum of the divisors"
            " | the prime factors, the remainder rule, the two integers, the digit sum"
            " | in number theory, on a list of integers, in a code of digits, in a divisibility drill",
            "the days needed, the rate of the pump, the number of workers, the time to fill the tank"
            " | the output per hour, the flow of each pipe, the size of the team, the shared workload"
            " | in a factory, at a reservoir, on a work roster, at a pumping house",
            "the mean score, the median age, the missing entry, the standard deviation"
            " | the frequency table, the sum of the scores, the bar chart, the sample size"
            " | in a survey, in a data table, on a class register, in a census extract",
        ),
    ),
    "logic": Benchmark(
        skill="code", share=9, guess=0.25,
        templates=(
            "Consider a {tone} puzzle {place}: {subject} rely on {partner}. It is "
            "known that {steps}. Which conclusion must follow?",
            "In a {tone} passage, {subject} {place} argue from {partner}. The "
            "author adds that {steps}. Which assumption is needed?",
            "If {subject} {place} accept {partner} and {steps}, which of the four "
            "statements of this {tone} item cannot be true?",
            "A {tone} reasoning task: {place}, {subject} are ordered by "
            "{partner}. The rules say that {steps}. Who comes last?",
            "Suppose that {steps}. Now {subject} appeal to {partner} "
            "{place}. What weakens this {tone} argument most?",
            "Read the {tone} rules. We find {subject} {place}, tied together by "
            "{partner}, so that {steps}. Which pairing is possible?",
            "The {tone} premise is that {partner} binds {subject} {place}. "
            "Moreover, {steps}. What can be inferred with certainty?",
            "Four statements concern {subject} {place}. Given {partner}, and given that "
            "{steps}, which one is false? It is a {tone} case.",
            "Which flaw hides in this {tone} argument, where {subject} {place} "
            "use {partner} and conclude although {steps}?",
            "Someone claims that {partner} settles the matter for {subject} {place}. "
            "Yet {steps}. What best resolves this {tone} paradox?",
        ),
        steps=(
            "no two of them agree", "the second comes before the fourth", "exactly one of them lies",
            "whoever is first is never third", "at least two are equal", "the converse does not hold",
            "nobody is counted twice", "the third is never alone",
        ),
        subtopics=(
            "five runners, six chess players, the four swimmers, seven cyclists"
            " | the finishing order, the tournament table, the starting numbers, the seeding list"
            " | in a relay, at a tournament, in a pool heat, on race day",
            "the witnesses, two suspects, the detectives, three jurors"
            " | the alibi, the sworn statement, the fingerprint, the chain of evidence"
            " | in a courtroom, at a crime scene, in a police file, at the inquest",
            "the economists, four traders, the policy makers, two central bankers"
            " | the price trend, the tax rule, the trade balance, the wage report"
            " | in a market review, at a trade summit, in a budget debate, in a financial column",
            "the doctors in a trial, six nurses, the epidemiologists, three pharmacists"
            " | the control group, the dosage chart, the infection rate, the placebo effect"
            " | in a hospital study, at a clinic, in a health survey, on a ward round",
            "the linguists, five translators, the grammarians, three editors"
            " | the definition, the double meaning, the etymology, the rule of syntax"
            " | in a dictionary dispute, at a publishing house, in a style guide, at a language school",
            "the engineers, four machines, six switches, the signal lamps"
            " | the wiring diagram, the truth table, the safety protocol, the circuit rule"
            " | in a control room, on a factory line, in a relay box, on a test bench",
            "the dinner guests, eight cousins, the newlyweds, six neighbours"
            " | the seating plan, the family tree, the guest list, the shared calendar"
            " | at a round table, at a reunion, in a row of houses, at a garden party",
            "the biologists, four species, the birdwatchers, six fossils"
            " | the habitat map, the evolutionary tree, the food web, the migration record"
            " | in a rainforest, on an island, in a museum drawer, in a wetland reserve",
        ),
    ),
    "medicine": Benchmark(
        skill="medical", share=13, guess=0.25,
        templates=(
            "Seen {place}, {subject} presents as a {tone} case. The findings "
            "include {steps}. Is {partner} the best next step?",
            "A {tone} board question: {subject} is admitted {place} with "
            "{steps}. What does {partner} suggest here?",
            "Which statement about {partner} is correct when {subject} is seen "
            "{place} with {steps}? Treat it as a {tone} vignette.",
            "The {tone} history of {subject} {place} includes {steps}. Which "
            "of the four reasons speaks against {partner}?",
            "You examine {subject} {place}. There is a {tone} picture "
            "with {steps}. What is the role of {partner}?",
            "For {subject} in care {place}, the team discusses {partner}. Notes "
            "mention {steps}. Choose the answer to this {tone} item.",
            "In a {tone} exam, {subject} needs {partner} {place}. The chart "
            "lists {steps}. What is the most likely diagnosis?",
            "What mechanism links {partner} to the state of {subject} "
            "{place}, given {steps}? This is a {tone} question.",
            "After {partner}, {subject} is watched {place} and develops {steps}. Name "
            "the most likely complication in this {tone} case.",
            "Four options are offered {place} for {subject}, one of them {partner}. "
            "This {tone} record shows {steps}. Which comes first?",
        ),
        steps=(
            "a mild fever", "a normal chest film", "a long history of smoking", "a raised white cell count",
            "no known allergies", "a recent journey abroad", "poor appetite for a week", "a slightly low "
            "blood pressure",
        ),
        subtopics=(
            "a man with chest pain, a runner with palpitations, a patient with a heart murmur, a woman "
            "with swollen ankles"
            " | a beta blocker, an electrocardiogram, cardiac catheterisation, a statin"
            " | on the cardiology ward, in a heart clinic, in the coronary unit, at a stress test",
            "a child with wheezing, a miner with a dry cough, a smoker with emphysema, an asthmatic student"
            " | an inhaled steroid, spirometry, bronchoscopy, oxygen by mask"
            " | in a lung clinic, on the respiratory ward, at a sleep laboratory, in a chest unit",
            "a woman with a seizure, a man with tremor, a patient after a stroke, a girl with migraine"
            " | a lumbar puncture, levodopa, an electroencephalogram, an anticonvulsant"
            " | on the neurology ward, in a stroke unit, at a memory clinic, in a headache service",
            "a mother in labour, a woman in week 34, a newborn with jaundice, a girl with missed periods"
            " | an ultrasound of the womb, oxytocin, a caesarean section, a progesterone test"
            " | in the delivery room, at an antenatal visit, in the maternity wing, on the neonatal unit",
            "a hiker with a tick bite, a nurse with tuberculosis, a boy with measles, a traveller with "
            "malaria"
            " | a broad antibiotic, a blood culture, a live vaccine, an antiviral drug"
            " | in a tropical clinic, on the isolation ward, at a vaccine centre, in an outbreak tent",
            "a man with loose teeth, a girl with dental caries, a patient with gum disease, a boy with a "
            "cleft palate"
            " | a root canal, a fluoride varnish, a dental crown, an impacted molar extraction"
            " | in the dental chair, at an oral surgery, in a school dental check, at an orthodontist",
            "a diabetic teenager, a woman with goitre, a man with kidney stones, a patient on dialysis"
            " | insulin, a thyroid hormone test, a renal biopsy, a loop diuretic"
            " | in the endocrine clinic, on the renal ward, in a diabetes service, at a dialysis centre",
            "a dancer with a torn ligament, a man with a broken hip, a girl with scoliosis, a patient "
            "with joint pain"
            " | an arthroscopy, a plaster cast, a bone scan, a hip replacement"
            " | in the fracture clinic, in an orthopaedic theatre, at a rehabilitation centre, at the "
            "sports injury desk",
        ),
    ),
    "graduate-science": Benchmark(
        skill="science", share=5, guess=0.25,
        templates=(
            "A {tone} problem for graduates: {subject} is studied {place} by "
            "{partner}. Assume {steps}. Which prediction is right?",
            "Using {partner}, a group {place} investigates {subject}. In this "
            "{tone} setting with {steps}, what is observed?",
            "Let {subject} be prepared {place}. With {steps}, what does "
            "{partner} reveal? The question is a {tone} one.",
            "Which quantity follows from {partner} for {subject} {place} under "
            "{steps}? Choose one of four in this {tone} task.",
            "Consider a {tone} experiment {place} in which {partner} probes "
            "{subject} with {steps}. Which explanation survives?",
            "To leading order, how does {subject} behave {place} if {partner} is "
            "applied with {steps}? It is a {tone} estimate.",
            "An examiner asks a {tone} question on {subject}: {place}, {partner} "
            "is repeated with {steps}. What changes most?",
            "The literature treats {subject} {place} by {partner}. Now take {steps}. "
            "Which claim of this {tone} paper must be dropped?",
            "Derive the outcome when {partner} meets {subject} {place}, with "
            "{steps}. Four options are given for this {tone} item.",
            "In a {tone} oral exam you are shown {subject} {place}. You may use "
            "{partner} and assume {steps}. What do you conclude?",
        ),
        steps=(
            "a weak coupling", "two conserved quantities", "an unknown impurity", "a broken symmetry",
            "a slow drift of the baseline", "no boundary terms", "three competing pathways", "a "
            "non-linear response",
        ),
        subtopics=(
            "an entangled photon pair, a trapped ion, a spin chain, a tunnelling electron"
            " | perturbation theory, a Bell measurement, the variational principle, a path integral"
            " | in a quantum optics lab, in a magnetic trap, at millikelvin temperature, in a potential "
            "well",
            "a spiral galaxy, a neutron star, a dusty nebula, an exoplanet"
            " | redshift fitting, transit photometry, a gravitational lens, radio interferometry"
            " | at a mountain observatory, in a deep sky survey, in the local group, on a space telescope",
            "a chiral ketone, an aromatic amine, a cyclic ester, a strained alkene"
            " | nuclear magnetic resonance, a Grignard reagent, catalytic hydrogenation, retrosynthesis"
            " | in a dry flask, under reflux, in an organic synthesis lab, in a nitrogen glove box",
            "a membrane protein, a gene promoter, a ribosome mutant, a viral enzyme"
            " | a knock-out screen, crystallography, a western blot, single-cell sequencing"
            " | in yeast cells, in a molecular biology lab, in a mouse model, in a cell culture",
            "a turbulent jet, a viscous film, a shock wave, a rotating fluid"
            " | dimensional analysis, the Navier-Stokes equation, a wind tunnel test, particle tracking"
            " | in a pipe flow, behind a cylinder, at high Mach number, in a water channel",
            "a zeolite catalyst, a redox couple, a metal complex, an adsorbed monolayer"
            " | cyclic voltammetry, ligand field theory, infrared spectroscopy, a titration curve"
            " | at an electrode, in aqueous buffer, on a platinum surface, in an inorganic chemistry lab",
            "a mantle plume, a glacier core, a basalt layer, a fault zone"
            " | isotope dating, seismic tomography, a climate proxy, thin section microscopy"
            " | at a mid-ocean ridge, in an ice sheet, below a volcano, in a drill hole",
            "a compact manifold, a finite group, a random matrix, an elliptic operator"
            " | a spectral argument, representation theory, the index theorem, a concentration bound"
            " | in a Hilbert space, over a finite field, on a closed surface, in high dimension",
        ),
    ),
    "general-knowledge": Benchmark(
        skill="science", share=22, guess=0.25,
        templates=(
            "Which of the four statements about {subject} is true? This {tone} "
            "question deals with {partner} {place} and covers {steps}.",
            "A {tone} quiz item {place}: explain {partner} for {subject}. "
            "Keep in mind {steps}. Which option fits best?",
            "In a {tone} exam {place}, {subject} is linked to {partner}. "
            "Candidates must weigh {steps}. Choose the right answer.",
            "What role does {partner} play for {subject} {place}? Take "
            "account of {steps} in this {tone} question.",
            "Students {place} discuss {subject} and {partner} with regard to {steps}. "
            "Which summary is accurate? It is a {tone} choice.",
            "The {tone} textbook chapter on {subject} mentions {partner} {place}, "
            "along with {steps}. Which claim is supported?",
            "Regarding {subject} {place}, which option states {partner} "
            "correctly, including {steps}? Answer this {tone} item.",
            "Name the best description of {partner} {place} in relation to "
            "{subject}. A {tone} hint is given by {steps}.",
            "Someone writes {place} that {subject} cannot be understood without "
            "{partner} and {steps}. Judge this {tone} claim.",
            "Of four {tone} definitions, which one applies to {subject} "
            "{place} once {partner} is combined with {steps}?",
        ),
        steps=(
            "the main exception", "the earliest known case", "one common objection", "the accepted "
            "terminology",
            "a later revision", "its practical limits", "the usual comparison", "two opposing views",
        ),
        subtopics=(
            "the Roman republic, the silk trade, a medieval guild, the age of sail"
            " | the treaty, the royal archive, the peasant revolt, the line of succession"
            " | in ancient sources, in a history course, during the middle ages, in colonial times",
            "contract law, a constitutional court, the right of appeal, criminal liability"
            " | precedent, the burden of proof, judicial review, the statute"
            " | in common law, before a tribunal, in a law school, under civil procedure",
            "cell division, photosynthesis, natural selection, the nervous system"
            " | the enzyme, genetic drift, the chloroplast, homeostasis"
            " | in a biology course, in plant tissue, in vertebrates, under the microscope",
            "supply and demand, a monopoly, inflation, the labour market"
            " | the marginal cost, fiscal policy, the price elasticity, the exchange rate"
            " | in an economics course, in the short run, in an open economy, during a recession",
            "utilitarian ethics, free will, the theory of knowledge, moral relativism"
            " | the categorical imperative, the thought experiment, scepticism, the social contract"
            " | in a philosophy seminar, in classical dialogues, among stoics, in modern metaphysics",
            "a river delta, the monsoon, plate boundaries, a desert climate"
            " | erosion, the trade wind, the population map, the time zone"
            " | in a geography atlas, near the equator, in coastal regions, across a continent",
            "a sorting algorithm, an operating system, a relational database, a network router"
            " | the hash function, recursion, the cache, the access protocol"
            " | in a computing course, on a server, in machine code, inside a compiler",
            "child development, working memory, classical conditioning, a personality test"
            " | the attachment style, cognitive bias, the reinforcement schedule, the case study"
            " | in a psychology course, in group therapy, in early childhood, in a behaviour lab",
        ),
    ),
    "physical-sense": Benchmark(
        skill="instruct", share=7, guess=0.5,
        templates=(
            "You have to deal with {subject} {place}. Is {partner} the "
            "better tool for this {tone} job, given {steps}?",
            "A {tone} household question: {place}, how do you handle {subject}, "
            "with {partner} or without, considering {steps}?",
            "Goal: fix {subject} {place}. Two {tone} ways are proposed, one with "
            "{partner}. There is also {steps}. Which one works?",
            "To take care of {subject} {place}, a friend suggests {partner}. Mind "
            "{steps}. Which of two {tone} solutions is sensible?",
            "What happens to {subject} {place} if you use {partner} despite "
            "{steps}? Choose the more likely of two {tone} outcomes.",
            "Someone wants to mend {subject} {place} and owns only {partner}. "
            "With {steps}, which {tone} method is safer?",
            "Which is the right order {place}: first {partner}, or first a look at "
            "{subject}? In this {tone} task there is {steps}.",
            "Picture {subject} {place}. With {steps}, would {partner} help "
            "or make it worse? This is a {tone} choice.",
            "For a {tone} repair {place}, hold {partner} ready and inspect "
            "{subject}. Allow for {steps}. What should you do next?",
            "How can {partner} be used on {subject} {place} when there is "
            "{steps}? Pick one of two {tone} answers.",
        ),
        steps=(
            "very little space", "no running water", "a strong draught", "only one free hand", "a "
            "slippery floor",
            "hardly any light", "a child nearby", "ten minutes of time",
        ),
        subtopics=(
            "a clogged drain, a dripping tap, a stained bathtub, a cracked tile"
            " | a rubber plunger, a pipe wrench, white vinegar, silicone sealant"
            " | in the bathroom, under the sink, in the shower, in the laundry room",
            "a burnt pan, a lump of dough, a pot of boiling milk, a frozen steak"
            " | a wooden spoon, baking soda, a whisk, aluminium foil"
            " | in a small kitchen, on a gas stove, at the barbecue, beside the oven",
            "a flat bicycle tyre, a dead car battery, a squeaky brake, a foggy windscreen"
            " | a tyre lever, jumper cables, chain oil, a foot pump"
            " | on the roadside, in the garage, at a petrol station, in a car park",
            "a wobbly chair, a squeaking door hinge, a bent nail, a warped shelf"
            " | sandpaper, a claw hammer, wood glue, a cordless drill"
            " | in the workshop, in the hallway, on a workbench, at the carpenter's bench",
            "a wilting houseplant, a patch of weeds, a broken flower pot, an overgrown lawn"
            " | a garden hose, a pair of shears, coffee grounds, a wheelbarrow"
            " | on the balcony, in the vegetable bed, by the compost heap, under the apple tree",
            "a torn sleeve, a wool jumper with a hole, a wine stain, a stuck zip"
            " | a sewing needle, an ironing board, candle wax, a safety pin"
            " | in the wardrobe, at the washing machine, at the sewing table, in a laundrette",
            "a leaking tent, a damp campfire, a heavy rucksack, a tangled rope"
            " | a tarpaulin, dry birch bark, a pocket knife, a hiking pole"
            " | at a campsite, in the woods, on a mountain trail, beside a lake",
            "a frozen laptop screen, a dusty keyboard, a tangled charger cable, a jammed printer"
            " | compressed air, a microfibre cloth, a spare battery, a small screwdriver"
            " | at the office desk, in a server cupboard, in a home study, at a repair cafe",
        ),
    ),
    "social-sense": Benchmark(
        skill="chat", share=9, guess=1 / 3,
        templates=(
            "After {subject}, {partner} meet again {place}. It is a {tone} moment, "
            "because {steps}. What will they want to do next?",
            "It comes to {subject} between {partner} {place}. Knowing that "
            "{steps}, how would they feel? This is a {tone} case.",
            "Why would {partner} react so strongly to {subject} {place} when "
            "{steps}? Choose one of three {tone} reasons.",
            "Everyone {place} heard about {subject}. In this {tone} scene {partner} "
            "stay silent, though {steps}. How are they seen now?",
            "A {tone} question about people: {place}, {partner} talk over {subject} "
            "while {steps}. What did they need to do before?",
            "How should {partner} respond to {subject} {place}, seeing that "
            "{steps}? Pick the kindest of three {tone} answers.",
            "Imagine {partner} {place}. They have just gone through {subject}, and "
            "{steps}. What happens next in this {tone} story?",
            "The {tone} part is that {steps}. Now {partner} bring up "
            "{subject} {place}. What do others most likely think?",
            "What is on the minds of {partner} {place}, following {subject}, if "
            "{steps}? Select one of three {tone} readings.",
            "Both sides regret {subject}. So {partner} arrange a {tone} talk "
            "{place}, even though {steps}. Who speaks first and why?",
        ),
        steps=(
            "one of them is secretly hurt", "nobody wants to lose face", "a promise was made long ago",
            "someone else is listening", "the reason was never told", "both are very tired",
            "one apology has been refused", "an old favour is remembered",
        ),
        subtopics=(
            "a missed deadline, a sudden promotion, a harsh review, an unpaid overtime shift"
            " | two colleagues, a manager and a trainee, the project team, rival salesmen"
            " | at the office, in a staff meeting, during a business trip, by the coffee machine",
            "a forgotten birthday, a quarrel over the will, a surprise visit, a broken heirloom"
            " | two sisters, a father and his son, the grandparents, the stepbrothers"
            " | at a family dinner, in the living room, at the christening, on a holiday visit home",
            "a failed exam, a copied essay, a school prank, a prize for the best pupil"
            " | two classmates, a teacher and her pupil, the new students, the school captains"
            " | in the school yard, in detention, at a parents' evening, on a class outing",
            "a first date, a broken engagement, a jealous remark, a marriage proposal"
            " | the young couple, two former lovers, the bride and groom, the shy admirers"
            " | at a candlelit dinner, on a park bench, at a wedding party, on a long walk at dusk",
            "a noisy party, a fallen fence, a stolen parking spot, a borrowed ladder"
            " | the people next door, two tenants, the landlord and the lodger, the block committee"
            " | in the stairwell, across the hedge, at a street party, in the shared courtyard",
            "a missed penalty, an unfair foul, a lost final, a place on the bench"
            " | two team mates, the trainer and the striker, the rival captains, the loyal fans"
            " | in the changing room, at the sports club, on the way from the match, at the victory parade",
            "an unanswered message, a leaked photo, a rude comment, a false rumour online"
            " | two online friends, the chat moderators, a blogger and her reader, the gaming partners"
            " | in a group chat, on a forum, during a video call, in a comment thread",
            "a bad diagnosis, a long wait, a lost wallet, a kind gesture by a stranger"
            " | a nurse and a patient, two travellers, the volunteers, the ticket inspectors"
            " | in a waiting room, on a night train, at the help desk, in a crowded tram",
        ),
    ),
    "misconceptions": Benchmark(
        skill="chat", share=7, guess=0.0,
        templates=(
            "Is there any truth in {subject}, which {partner} spread "
            "{place}? It is a {tone} question, since {steps}.",
            "People {place} repeat {subject}. What do {partner} really know about "
            "this {tone} matter, considering that {steps}?",
            "Many {partner} {place} believe in {subject}. Given that {steps}, what "
            "is the honest answer to this {tone} question?",
            "What would happen if {subject} were put to the test {place}? Recall "
            "that {partner} insist on it and {steps}. Be {tone}.",
            "Someone quotes {partner} {place} in favour of {subject}. Although "
            "{steps}, which {tone} reply would be accurate?",
            "Where does {subject} come from? It is told {place} by {partner}, and "
            "{steps}. Give a truthful answer to a {tone} question.",
            "A {tone} belief is {subject}. Although {partner} defend it {place}, we "
            "note that {steps}. What does the evidence say?",
            "Do {partner} {place} have good grounds for {subject}? Bear in mind that "
            "{steps}. Give a {tone} but true reply.",
            "Here is a {tone} myth to check: {subject}, as heard {place} from "
            "{partner}. Note that {steps}. True or not?",
            "Explain without repeating errors why {subject} appeals to {partner} {place}, even though "
            "{steps}. Keep in mind that it is a {tone} topic.",
        ),
        steps=(
            "the saying is old", "no study is ever cited", "the opposite is sometimes claimed", "it "
            "sounds plausible",
            "the numbers vary widely", "a famous film repeats it", "experts rarely mention it", "it holds "
            "in one rare case",
        ),
        subtopics=(
            "the idea that sugar makes children wild, the rule of eight glasses of water, the fear of "
            "eating after six,"
            " the tale that carrots cure poor sight"
            " | diet gurus, worried parents, fitness trainers, cookbook authors"
            " | at breakfast tables, in a health food shop, on cooking shows, in a slimming club",
            "the claim that bats are blind, the story of suicidal lemmings, the memory of a goldfish,"
            " the ostrich with its head in the sand"
            " | pet owners, zoo visitors, nature writers, dog trainers"
            " | at the zoo, in a pet shop, in wildlife films, on a safari tour",
            "the visible wall from orbit, the dark side of the moon, the blood moon curse, the alien "
            "landing"
            " | stargazers, horoscope readers, space fans, rocket hobbyists"
            " | at a planetarium, in astrology columns, at a science fiction fair, under the night sky",
            "the legend of the horned helmet, the short emperor, the flat earth of the sailors, the cake "
            "of the queen"
            " | tour guides, costume makers, amateur historians, battle re-enactors"
            " | in castle tours, at a heritage fair, in old schoolbooks, in a wax museum",
            "the ten percent of the brain, the left-brained artist, the full moon madness, the "
            "mind-reading twin"
            " | life coaches, self-help authors, stage hypnotists, palm readers"
            " | at a self-help retreat, in a personality quiz, in motivation seminars, on a therapist's "
            "couch",
            "the lucky number in the lottery, the hot hand of the gambler, the cursed mirror, the unlucky "
            "black cat"
            " | gamblers, fortune tellers, superstitious sailors, lottery winners"
            " | in a betting shop, at the roulette wheel, on a pier arcade, at a village fete",
            "the loophole in the tax code, the finders keepers law, the one phone call in jail, the "
            "police who may not lie"
            " | street lawyers, first-time buyers, tabloid readers, crime series fans"
            " | in a pub debate, in the police station lobby, in crime novels, at a tax advice stand",
            "the cold caught from wet hair, the knuckles that give arthritis, the vaccine scare, the "
            "healing crystal"
            " | folk healers, anxious grandmothers, sauna regulars, herbal tea sellers"
            " | in a doctor's queue, at a spa, in an old remedy book, on a wellness blog",
        ),
    ),
}
