"""Alternatives that several phrases of reflection share, as regular expressions over lower-case text."""

LET = r"(?:let me|let us|let's|i should|i could|i can|i'll|i will|we should|we could|we can|maybe)"
MOMENT = r"a (?:minute|moment|second|sec)"
PAUSE = r"(?=\**[,.!?;:…]|\s*[—–]| --? )"
WORK = r"(?:my|our|the|this|that) (?:work|answer|result|calculations?|steps?|solution)"
ASKED = r"(?=[^.!;\n]{0,60}\?)"
SLIPS = (
  r"(?:forgot(?:ten)?|misread|miscounted|misremembered|misunderstood|misinterpreted|misapplied|miscalculated|mistook"
  r"|mixed up|overlooked|overcounted|undercounted|double[- ]counted|neglected|messed up|omitted|misjudged|misstated"
  r"|mislabell?ed|miswrote|mistyped|mixed [^.,;!?\n]{1,30} up|conflated|confused|botched|rushed|slipped up|stumbled"
  r"|jumped (?:to|the gun|ahead)|got (?:ahead of|carried away|confused|muddled|mixed|sloppy|tangled|turned around))"
)
END = r"(?=[.,;:!)]|$)"
QUESTION = r"[^.!?\n]{0,50}\?"
STATEMENT = r"(?:problem|question|statement|task|prompt|exercise|wording)"
WAY = (
  r"(?:approach|method|way|route|path|idea|plan|strategy|argument|line|substitution|trick|technique|attempt|avenue"
  r"|track|recursion|induction|expansion|casework)"
)
FAULT = r"(?:mistake|error|bug|slip|flaw|gap|hole|typo|oversight|blunder|misreading|miscount|problem|issue|catch)"
FOUND = (
  r"(?:formula|claim|rule|pattern|conjecture|recurrence|expression|identity|guess|code|answer|solution|result|algebra"
  r"|factori[sz]ation|expansion|value|count|total|estimate|computation|calculation|argument|root|derivative)"
)
SAID = (
  r"(?:said|claimed|stated|wrote|thought|assumed|asserted|believed|guessed|described|proposed|expected|figured|computed"
  r"|concluded|hoped|had|used|got|found|gave|derived|counted|took|read|listed|imagined|supposed)"
)
CHECK = r"(?:check|see (?:if|whether)|make sure|verify|confirm|test|double[- ]check|be (?:sure|careful)|rule out)"
EASIER = r"(?:simpler|easier|cleaner|neater|slicker|tidier|more (?:direct|promising|natural))"
