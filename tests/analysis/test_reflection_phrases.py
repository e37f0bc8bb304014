"""Phrases of reflection in hand-written sentences."""

import pytest

from srpo_jax.analysis.reflection import KINDS, phrases

REFLECTS = """
Actually, the remainder should be 5.
I made an arithmetic error.
No, that's wrong.
Let me recalculate the third term.
Going back to the second equation, I see the sign is flipped.
But this can't be, since x must be positive.
That's suspicious.
Hmm, this looks too easy.
Is this really correct? Let me see.
We should double check the edge case n = 0.
Perhaps there is a neater way.
Let's see whether the formula holds for n = 3: 3·4/2 = 6, yes.
Checking: 3·5 + 2 = 17. ✓
Plugging x = 2 back into the equation gives 0, as required.
Wait a second, the triangle is isosceles.
I should have divided by 2.
Oh no, I forgot to carry the 1.
It should be 12, not 21.
Let me try a simpler case first.
On the other hand, we could use generating functions.
I realize that the domain excludes 0.
Hold on. Is the list 0-indexed?
This approach doesn't work.
To double-check, compute 12·8 = 96.
So my answer of 40 was too large.
Another thought: use symmetry.
Let me count them again, slowly.
Apologies, the area is 24.
Sorry, that was the perimeter.
Let me approach this from another angle.
I'm not convinced.
We verify: 2 + 3 = 5.
Verify: 7² = 49.
This matches the earlier value.
Hmm wait.
Something isn't right here.
Strange, the sum should be even.
Hmm, that gives a negative length, which is impossible.
I should check whether x = 0 is allowed.
Wait, did we account for the case n = 1?
Let me go through the steps again.
We could instead complete the square.
Recomputing with the correct radius gives 9π.
So that guess was wrong.
As a check, 4 + 5 = 9.
Let me step back.
The two results agree.
Oops, I divided by zero there.
That seems off by a factor of 2.
I don't think that's right.
But this doesn't account for rotations.
Is 91 prime? No: 91 = 7·13, so I was too quick.
Let us confirm with a small example.
The answer 17 seems plausible, but let me make sure.
It may be simpler to use complement counting.
Suppose we try n = 2 to see a pattern.
Wrong: I forgot the base case.
I've been assuming a fair coin, but the problem doesn't say so.
We need to be careful here: division by zero.
Plug it back in: 2·3 = 6, correct.
Then again, n might be odd.
I think there is a subtlety I missed.
Let's double-check using modular arithmetic.
That contradicts the given sum of 12, so one of my steps is wrong.
Hmph, the determinant came out zero, though the matrix is invertible.
Yikes. Seven factorial is 5040, not 720.
Embarrassingly, I counted the diagonal twice.
So it converges... or does it? The terms tend to 1.
Is that even legal? Taking logs requires both sides to be positive.
Can this be right? Each man would have to carry 300 kg.
Reading the question more carefully, the tank starts half full.
On closer inspection the second sum has an extra term.
Having second thoughts about the lower limit: it ought to be 1.
This is at odds with the first condition, so the guess fails.
A probability above 1 makes no sense, so the multiplication must be redone.
I'm going to abandon the trigonometric route.
Hmm OK, scrap the idea of brute force.
For n = 1 the formula should return 1, and it does.
Multiplying out (x − 3)(x + 5) gives x² + 2x − 15 again, so the factorization is right.
A quick estimate, 50 · 20 = 1000, shows that 987 is about right.
I'd like to see whether dividing by 0 can occur here.
Before moving on, is the denominator ever zero?
My hunch that the sequence is periodic turned out false.
Contrary to my first impression, the series diverges.
I had it backwards: b divides a.
I seem to be going in circles.
I'm fairly unsure whether zero counts as a natural number here.
Unsure about the factor 2. The symmetric pairs appear once, so there's none.
Where's the missing 3? It was in front of the integral.
This shortcut only works for primes, and 9 isn't one. Back to the definition.
Okay, that went badly. Let me use polar coordinates.
What I wrote for f'(x) lacks the inner derivative.
Should it be ≤ rather than <? The question says "no more than", so yes.
Blast, the sum telescopes the other way round.
Mea culpa: the base is 8, not 10.
I mean 12, not 21.
Does that include the 30 minutes of rest? The text says "in total", so it does.
Let me look at the statement once more: the coins are fair, and there are five of them.
I completely ignored the rest days.
The answer has the wrong units, so I go through the steps again.
The left side is even and the right side is odd, so the values I found cannot be a solution after all.
This line of thought goes nowhere.
Polar coordinates didn't simplify anything, so back to Cartesian ones.
We might as well compute it directly.
Let me experiment with n = 2 and n = 3 before I go on.
Adding the probabilities: 0.2 + 0.5 + 0.3 = 1, good.
The magnitude is plausible, since light needs about 8 minutes from the sun.
I keep forgetting the absolute value.
It bothers me that the data point 14 is never used.
Therefore x = 9 — or is it? The square root is never negative, so x = 9 is extraneous.
Ignore the last line; the sign is plus.
Ok let me restart with cleaner notation.
The claim I made about odd n is false for n = 9.
Let me think: which of the two is larger?
Hmm, the two lengths can't both be 5.
I mistook the radius for the diameter.
But 15 is odd, so that's no good.
Hmm, is zero included? The problem says non-negative, so yes.
The result would be negative, and a distance can't be.
Wait, why is the sum finite?
The units do not match: km on one side, hours on the other.
That's odd, both should be equal.
Looking back, the first step is not reversible.
"""
DOES_NOT = r"""
The mechanic double-checked 12 cars.
The auditor must recheck 5 of the 20 files.
"Wait," said Tom, and gave her 3 coins.
A rechecked ballot counts once.
Let x be the number of apples.
The teacher made a mistake on 3 of the tests.
Nurses double-check every dose.
Actually 5 people came to the party of 8 chairs.
The wrong answers are 3 in number.
He thinks again and picks the red door.
Let's find the derivative first.
Maybe the most famous example is Fermat's theorem.
The waiter waits 10 minutes.
Hence the answer is correct to 3 decimals.
In the error term, we use the bound 1/n².
We need to check that f is continuous, which follows from the definition.
A different number of balls is drawn each time.
The other approach lane has 2 cars.
We have to confirm the order of the group, which is 6.
The inspector reexamined 10% of 200 items.
If the test is repeated, the error is halved.
Sarah forgot 3 of her 10 books.
Each student checks a neighbour's work.
By contradiction, suppose the sum is odd; this is impossible.
Bob actually ran 5 km.
The correct change is $3.
So x = 5 and no other value is possible.
The mistake rate is 2%.
The plane holds on the runway for 5 minutes.
Instead of adding, the machine multiplies.
The verified copies number 12.
The error in the student's solution is in line 2.
"Are you sure?" asked the clerk, and 3 people nodded.
The tester retests 4 of 10 chips.
The dog ran back 10 m.
We compute f(2) = 4.
It should be noted that n is even.
The train goes back 12 km.
Let me define S as the set of primes.
Another box holds 5 pens.
She has an easier way to school, 2 km long.
In this way we get 12.
Check boxes are 5 mm wide.
He says he may have made 2 cakes.
Jane realized she had 4 coins.
Maybe 3 out of 5 people agree.
The new plan costs $12 a month.
Now we can compute the area: 12.
This is a much better offer: 20% off.
If the price were too high, nobody would buy.
The correction term is 1/12.
The call `wait()` returns, and ```hmm, wait``` prints.
Ann said “oops, that's wrong” and 'hmm, I'm not sure' 3 times.
Anna erased the wrong line and rewrote it, so she used 3 sheets.
The task is to verify the identity sin²x + cos²x = 1.
The author's proof is wrong, because it divides by zero.
The parrot says 'Erm' 4 times a minute.
This is not a perfect square, since 2 divides 50 exactly once.
However, the second equation gives y = 3.
What is the probability of drawing two aces? It's 4/52 · 3/51.
Kim checked 40 items and found 3 faulty ones.
The company abandoned 3 of its 8 projects.
The estimate is close but no guarantee is given, so 95% is the level.
For small n the values are 1, 2, 5 and 14.
Expanding the product, we find x² + 2x − 15.
Tracing paper costs $2 a sheet.
The manager is not sure how many chairs he needs, so he orders 12 more than 80.
No, because 2 + 2 is even.
To correct the bias, divide by n − 1.
The slip of paper has the number 7 on it.
I want to find the area of the shaded part.
I bought 3 pens and lost one of them. How many do I have?
Now suppose that x > 0.
Note that the order matters here, so we count permutations.
The problem says that the boxes are identical, so we count partitions.
Both trains arrive at the same time.
Thus 3 is not in the range of f, which makes f not surjective.
The plan is to drop the tallest box first.
A sharper bound follows from another inequality, due to Jensen.
The wrong key opens the lock with probability 0.
We get x = 4 or x = −3, and only the first is positive, so x = 4.
My answer is 42.
We can also write this as a sum of two squares.
The sum of the digits is 18, so the number is divisible by 9.
How much does each of them pay? 84/6 = 14 dollars.
Mia first thought that 15 was prime, but her brother told her it is 3 · 5.
The editor marks 14 typos, of which the author fixes 9.
The test passes if the output is 7.
Your second test fails because the function returns None.
The assertion x > 0 holds at every step.
The hypothesis is rejected at the 5% level.
The formula is valid for |x| < 1.
So it is enough to consider primes.
Erm is a municipality with 3000 people.
A wrong turn cost them 25 minutes.
Close the interval on the right: (0, 1].
I ran 3 km on Monday and 5 km on Tuesday. How far did I run?
Above we found f(2) = 5, so f(3) = 8.
The two players disagree on the price by $4.
The sum of the first n odd numbers is n².
The teacher says: "Wait for the bell." It rings after 45 minutes.
Let's see, there are 12 months in a year.
Both methods cost the same.
The ratio is wrong in 2 of the 5 recipes.
So this is the required area.
A trial is repeated until the first success.
To check membership, use a set.
"""


@pytest.mark.parametrize(
  ("kind", "text", "found"),
  [
    ("recheck", "So 12. Let me double-check: 3 times 4 is 12.", "double-check"),
    ("recheck", "LET US\nVERIFY this. Then we re-evaluate and recheck.", "let us\nverify|re-evaluate|recheck"),
    ("recheck", "I'll compute it again, to be sure.", "compute it again|to be sure"),
    ("recheck", "I’ll check. Going over my steps, reconsidering.", "i'll check|going over my steps|reconsidering"),
    ("hesitation", "Wait, that is 5. But wait, no. Hmm, hold on. Oops!", "wait|wait|hmm|hold on|oops"),
    ("hesitation", "wait", ""),  # nothing follows, as in a truncated response
    ("hesitation", "I'm not sure.\nWait a minute: this is 3", "i'm not sure|wait a minute"),
    ("hesitation", "That doesn't seem right. I might have made one.", "that doesn't seem right|i might have made"),
    ("exploration", "Alternatively, try another approach. What if x = 0?", "alternatively|another approach|what if"),
    ("exploration", "Maybe we should. Let's try a smaller case.", "maybe we should|let's try a"),
    # beginnings of thoughts after marks of lists, emphasis and quotes, and after other words of hesitation
    ("hesitation", "- Wait, 5?\n1. **Wait**, no. (Hang on, so wait, 3) Ok wait, x", "wait|wait|hang on|wait|wait"),
    ("hesitation", "Wait -- I see. Wait if x is 3. Oh no wait that's 4. Hm, so.", "wait|wait if|oh no|wait that|hm"),
    ("hesitation", "That's not right. Actually, no: something's off", "that's not right|actually,|something's off"),
    ("recheck", "I double‑checked. Let's verify, then think again.", "double-checked|let's verify|think again"),
    ("recheck", "I don't know so recheck it; reassess, retracing my steps", "recheck|reassess|retracing"),
    ("exploration", "Let's try x = 2; I'll start over. Another idea", "let's try x =|i'll start over|another idea"),
    # other spellings
    ("hesitation", "Wait — no. Wait – 5? Actually wait, 6. Uh-oh.", "wait|wait|actually wait|uh-oh"),
    ("exploration", "Let us try n=5, then let me take k=2.", "let us try n|let me take k"),
    ("recheck", "Let me carefully verify it.", "let me carefully verify"),
    # a phrase that counts only where a thought begins does not hide one that counts anywhere
    ("hesitation", "What am I missing? How many do I need?", "what am i"),
    ("hesitation", "14 → 6 (oops, 5). Oh no, 7. __Note:__ wait, 8", "oops|oh no|wait"),
  ],
)
def test_phrases(kind, text, found):
  assert phrases(kind, text) == found.split("|") * bool(found)
  assert not any(phrases(other, text) for other in KINDS if other != kind)


@pytest.mark.parametrize(
  "text",
  [
    # parts of words
    "The waiter is awaiting the prechecked rechecker. Alternating angles. Hmmph-like whatiffery.",
    # verbs of word problems
    "How long did she wait? They wait a minute, then wait. Wait-times vary. Pictures hang on walls. He held on.",
    "Waits, waiting, waited, waitlist.",
    "She had to wait, because the bus was late. No wait is needed. The tea must wait: 5 minutes. It is 5 hm long.",
    # negated phrases
    "There is no need to double-check. We need not recheck it. I don't need to verify again.",
    "Done without trying another approach; never reconsider. It needn't re-evaluate anything.",
    "I won't double-check and can't verify it again. We cannot recheck. It isn't necessary to double-check.",
    "Instead of rechecking, go on, rather than double-checking. It is not necessary to verify. I haven't rechecked it.",
    "I don’t need to verify. There’s no need to re-check. I am not going to double-check.",
    # actions of other people
    "The clerk checks the bags. He tries again. She made sure of it. The inspector verifies each box.",
    "",
  ],
)
def test_texts_without_a_phrase(text):
  assert {kind: phrases(kind, text) for kind in KINDS} == {kind: [] for kind in KINDS}


def test_a_denial_reaches_no_further_than_its_clause():
  assert phrases("recheck", "That was without doubt wrong. Recheck it.") == ["recheck"]
  assert phrases("recheck", "I do not like the number at all and so I recheck it") == ["recheck"]


@pytest.mark.parametrize("sentence", REFLECTS.strip().split("\n"))
def test_sentences_that_reflect(sentence):
  assert any(phrases(kind, sentence) for kind in KINDS)


@pytest.mark.parametrize("sentence", DOES_NOT.strip().split("\n"))
def test_sentences_that_do_not(sentence):
  assert {kind: phrases(kind, sentence) for kind in KINDS} == {kind: [] for kind in KINDS}
