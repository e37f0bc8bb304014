"""Our list of phrases of reflection, by kind. All are English.

A phrase is a fragment of a regular expression over lower-case text. A space stands for any white space. Its first
character may say where it counts:

  ^ only where a thought begins, because in word problems people wait and pictures hang on walls
  @ only if no one but the writer acts in its clause: not "the mechanic double-checked 12 cars"
  ~ the same, in the whole sentence before it
"""

from collections.abc import Mapping

_LET = r"(?:let me|let us|let's|i should|i could|i can|i'll|i will|we should|we could|we can|maybe)"
_MOMENT = r"a (?:minute|moment|second|sec)"
_PAUSE = r"(?=\**[,.!?;:…]|\s*[—–]| --? )"
_WORK = r"(?:my|our|the|this|that) (?:work|answer|result|calculations?|steps?|solution)"
_ASKED = r"(?=[^.!;\n]{0,60}\?)"
_SLIPS = (
  r"(?:forgot(?:ten)?|misread|miscounted|misremembered|misunderstood|misinterpreted|misapplied|miscalculated|mistook"
  r"|mixed up|overlooked|overcounted|undercounted|double[- ]counted|neglected|messed up|omitted)"
)

PHRASES: Mapping[str, tuple[str, ...]] = {
  "recheck": (  # goes back over earlier work
    r"@re-?(?:check|count|visit|examin|assess|evaluat|calculat|comput|verif|deriv|trac|work|confirm)(?:e|y|ed|ied"
    r"|ing|ation|ion)?",
    r"@(?:double|triple|cross)[- ]check(?:ed|ing)?",
    r"@re-?analy[sz](?:e|ing)",
    r"@reconsider(?:ed|ing)?",
    r"@re-?(?:think|read|do)(?:ing)?",
    r"@(?:check|verify|compute|calculate|count|add|go) (?:[^\s.,;]+ ){0,4}(?:again|once more|one more time)",
    r"^(?:let me |let us |let's |i'll |i should )?try (?:(?:this|that|it) )?again",
    r"@think (?:(?:this|that|it) )?again",
    rf"{_LET} (?:just |now |quickly |carefully |also |first )?(?:check|verify|confirm|make sure|test|revisit"
    rf"|look back)",
    r"^to (?:be (?:sure|safe|certain)|verify|confirm|check)",
    rf"@(?:check|verify)(?:ing)? {_WORK}",
    r"@(?:go(?:ing)? (?:back )?over|retrac(?:e|ing)) (?:my|our|the|this|that) (?:work|steps?|calculations?|solution)",
    r"sanity[- ]check",
    r"^(?:a )?(?:quick |final |numerical )?(?:check|verification)(?=\**[:.])",
    r"^(?:checking|verifying|testing|confirming)",
    r"^(?:check|verify|confirm) (?:this|that|it|with|the|by|for|whether|if|numerically)",
    r"as a (?:\w+ )?(?:check|test|verification|way of (?:checking|testing))",
    r"(?:agrees?|match(?:es)?|consistent|in agreement) with (?:what|(?:the|our|my|this|that) (?:\w+ )?(?:count"
    r"|result|answer"
    r"|value|computation|calculation|formula|sum|total|estimate|one))",
    r"(?:are|is) in agreement",
    r"@(?:plug|substitut)(?:ging|e|ing)? (?:[^\s.,;]+ ){0,3}back",
    r"(?:it|that|this|everything|which|answer|result) (?:all )?checks(?: out)?(?=[.,;!]|$)",
    rf"^(?:does|do|is|did) [^.!?\n]{{1,60}}? (?:satisfy|match|make sense|check out|add up|hold up|agree|fit){_ASKED}",
    r"expected output is",
    r"@(?:going|go|look|looking|coming) back",
    r"@(?:spot|brute-force)[- ]check(?:ing)?",
    r"^(?:we |i )?(?:verify|check|confirm)(?=[:,])",
    r"(?:let's|let us|let me) see (?:if|whether)",
    r"(?:this|that|it|which) (?:also |indeed )?(?:matches|agrees|confirms|is consistent)",
    r"as expected",
    r"(?:both|the two) (?:sides|methods|approaches|ways|results|answers|values|counts) (?:agree|match|coincide)",
    r"same (?:answer|result|value|number|count) (?:as before|as above|again|either way|both ways)",
    r"test(?:ing)? (?:this|that|it|the (?:formula|claim|answer|result|conjecture)) (?:on|with|for|at|by|against)",
  ),
  "hesitation": (  # doubts the last statement
    rf"^wait{_PAUSE}",
    r"^wait wait",
    rf"^wait (?:{_MOMENT}|no|not|but|maybe|actually|that|that's|this|what|why|how|if|i|we|so|it's)",
    r"^wait (?:is (?:that|this|it)|the (?:problem|question))",
    rf"^(?:hold|hang) on(?:{_PAUSE}| {_MOMENT})",
    r"^actually(?:,| (?:no|wait|it|it's|that|that's|this|i|we|the)(?!\w))",
    r"^no(?:, wait|,| wait)(?=,? (?:wait|that|that's|this|it|it's|not|i|we)(?!\w))",
    r"^hmm+",
    rf"^hm{_PAUSE}",
    r"^uh[- ]oh",
    rf"^(?:oops|whoops|argh|ugh){_PAUSE}",
    r"(?:i'm|i am) (?:not (?:so |quite |entirely |too |really )?(?:sure|certain|convinced)|unsure|confused|stuck"
    r"|off by|mistaken|wrong)",
    r"i (?:was|may be|might be|could be|must be) (?:wrong|mistaken|off|too hasty|careless|sloppy|missing)",
    r"(?:that|this|it|which) (?:doesn't|does not|can't|cannot) (?:seem|look|sound|be) (?:quite )?(?:right|correct)",
    r"(?:that|this|it|which) (?:doesn't|does not) (?:make sense|add up|check out|match|fit|agree|work)",
    r"(?:that's|that is|this is|it's|that was|this was) (?:not (?:quite |actually )?(?:right|correct)|wrong"
    r"|incorrect|nonsense|a mistake)",
    r"(?:that|this) (?:seems|looks|sounds) (?:\w+ )?(?:wrong|off|odd|strange|suspicious)",
    r"seems? (?:\w+ )?too (?:small|large|big|few|many|high|low|good|easy)",
    r"(?:something (?:is|seems|looks|went|must be|slipped|doesn't)|something's) (?:wrong|off|amiss|along|add up)",
    r"(?:has|have|must) (?:to )?be (?:off|wrong|faulty|a mistake|an error)",
    r"i must have",
    rf"(?:i|we) (?:may|might|must|could|seem to|probably) have (?:made|missed|used|swapped|{_SLIPS})",
    rf"(?:i|we|i've|we've|i had) (?:just |also |accidentally |mistakenly )?{_SLIPS}",
    r"i (?:\w+ )?(?:copied|dropped|swapped|flipped|skipped|lost|left out|botched|should have|shouldn't have)",
    r"(?:i|we) (?:used|took|applied|picked|had) the wrong",
    r"(?:i|we)(?:'ve| have)? (?:\w+ )?made (?:a|an) (?:\w+ )?(?:mistake|error|slip|blunder|typo)",
    r"@(?:silly|careless|arithmetic|sign|algebra|copying|off-by-one) (?:error|mistake|slip)",
    rf"^my (?:bad|mistake|error|apologies){_PAUSE}",
    r"there(?:'s| is| was| must be) (?:a|an|some) (?:\w+ )?(?:flaw|gap|mistake|error|problem with|issue|catch|slip"
    r"|hole)",
    r"my (?:earlier|previous|first|initial|original) (?:\w+ )?(?:claim|answer|result|attempt|approach|assumption"
    r"|calculation|count|value|guess)",
    r"(?:i|we) (?:wrote|got|gave|computed|claimed|stated|assumed|said|had) (?:[^\s.,;]+ ){0,3}(?:above|before"
    r"|earlier|previously|ago)",
    r"as i (?:wrote|computed|claimed|said|assumed)",
    r"(?:which |that )?i never (?:established|proved|checked|showed|used|justified|verified)",
    r"(?:contradicts|disagrees with) (?:what (?:i|we)|my|our|the (?:earlier|previous|first))",
    r"(?:isn't|is not|wasn't) (?:really |quite |actually )?(?:justified|rigorous|legitimate)",
    r"(?:from before|above|earlier) (?:is|was) (?:wrong|nonsense|off|incorrect|false)",
    r"(?:what|where) (?:i |it |we |things )?went wrong",
    r"where did (?:i|we|the|that|this)",
    r"^(?:did|have|am|should|do) i(?= [^.!;\n]{0,60}\?)",
    r"^(?:correction|edit|revised(?: \w+)?|fix)(?=\**[:,])",
    r"^(?:scratch|strike|forget) that",
    r"^not so fast",
    r"^never mind",
    r"~on second thoughts?",
    rf"(?:is|was) (?:that|this|it) (?:really |actually )?(?:right|correct|true|justified|possible){_ASKED}",
    r"^(?:oh|ah),? (?:i|no|but)",
    r"but (?:the|this) (?:question|problem) (?:\w+ )?(?:wants|asks|asked|says|states|said|requires)",
    r"not what (?:is|was|we|the|they|i)",
    r"^i (?:need|have) to (?:[^\s.,;]+ ){1,6}(?:rather than|instead)",
    r"^but (?:this|that|it) (?:can't|cannot) be",
    r"(?:that's|that is|this is|it's) (?:\w+ )?(?:suspicious|strange|odd|weird|off|unexpected|absurd|fishy)",
    r"^(?:strange|odd|weird|suspicious|huh|sorry|apologies|whoa|yikes|er|um|uh|ah|oh)(?=\**[,.!:;…—?])",
    r"it should (?:actually )?be [^.;\n]{1,30}(?: not| instead of| rather than)",
    r"should (?:have been|actually be|instead be)",
    r"(?:i (?:now )?(?:realize|realise)|i just (?:realized|realised|noticed))",
    r"(?:this|that|the|my) (?:approach|method|argument|step|reasoning|assumption|idea|formula|substitution|trick"
    r"|strategy"
    r"|proof|logic|answer|result|setup) (?:(?:doesn't|does not|won't|didn't|can't|cannot) (?:work|help|apply|hold"
    r"|be right"
    r"|be correct|match|make sense|lead)|fails|failed|breaks|(?:is|was|were|seems|looks) (?:\w+ )?(?:wrong|flawed|off"
    r"|incorrect|invalid|faulty|circular|suspicious|nonsense|not right|too \w+))",
    r"my [^.!?;\n]{1,40} (?:was|were|is) (?:too|wrong|off|incorrect|flawed|mistaken|not quite)",
    r"something (?:isn't|is not|doesn't|does not|has gone)",
    r"(?:am|did|have|do|should|can|was) i(?= [^.!;\n]{1,60}\?)",
    r"^but (?:is|does|did|why|how)(?= [^.!;\n]{1,60}\?)",
    r"i (?:wrongly|incorrectly|mistakenly|implicitly|accidentally)",
    r"i (?:assumed|treated|ignored|missed|reversed|transposed|conflated|doubt|wonder|suspect)",
    r"i (?:was|am|'m) (?:assuming|using|treating|puzzled|worried|overcomplicating|overthinking)",
    r"i (?:added|subtracted|multiplied|divided|counted|used|took|read|wrote|computed|solved) [^.!?\n]{0,50}"
    r"(?:instead|rather than|when i|where the|twice|by mistake|wrong)",
    r"sign (?:is|was|should be) (?:flipped|wrong|off|negative|reversed)",
    rf"{_LET} (?:\w+ )?(?:fix|correct|undo|adjust|amend|slow down|pause|think(?! about the))",
    r"^(?:fixing|correcting|undoing)",
    r"(?:i take (?:that|it) back|i stand corrected|disregard (?:that|the)|ignore (?:that|the above|what i))",
    r"(?:answer|result|count|i'm|we're) (?:is |was )?off by",
    r"inconsistent with (?:the|what|my|our)",
    r"(?:far|way|much) too (?:small|large|big|few|many|high|low|long|short|slow)",
    r"(?:unreasonable|implausible|unrealistic)",
    r"(?:guess|claim|count|value|total|conclusion) (?:is|was) (?:\w+ )?(?:wrong|off|incorrect|mistaken)",
    r"i don't (?:think|believe|trust)",
    r"(?:this|that|it) (?:doesn't|does not) (?:account for|include|cover|consider|take into account)",
    r"i was too \w+",
    r"(?:i've|i have|we've|we have) been (?:assuming|using|treating|counting|ignoring)",
    r"need to be (?:more )?careful",
    r"^then again",
  ),
  "exploration": (  # tries another way or a special case
    r"^alternatively",
    r"(?:another|alternative|alternate|some other) (?:approach|way to|method|strategy|idea|angle|possibility is"
    r"|route|tack|argument)",
    r"(?:another|a different) way",
    r"different (?:approach|method|strategy|idea|angle on|tack|route|argument|technique|perspective)",
    r"^what if",
    r"^(?:what|how) about",
    rf"{_LET} (?:try|explore) (?:a|an|another|some|something|the case|this|that|using|with|instead|differently|from)",
    rf"{_LET} (?:try|take|test) (?:it with )?[a-z](?: =|(?==))",
    rf"{_LET} (?:look at|think about) (?:it|this) (?:differently|from|another)",
    rf"{_LET} (?:think differently|start over|backtrack|go back|step back|back up)",
    r"^(?:starting|start|back) (?:over|again|to the start|from scratch)",
    r"^(?:rewind|backtrack(?:ing)?|stepping back)",
    r"^instead,? (?:let|i|we)",
    r"(?:maybe|perhaps) (?:i|we) (?:can|could|should)",
    r"^suppose instead",
    r"@approach(?:ing)? (?:this|it|the problem) (?:differently|from)",
    r"(?:dead end|leads? nowhere|getting (?:too )?(?:messy|ugly|complicated)|bad idea)",
    r"^trying",
    r"we (?:can|could) also (?:get|do|see|solve|find|compute|derive|verify|check|prove) (?:this|that|it|the)",
    r"^or (?:maybe|perhaps|rather|does|is it|am i|do they)",
    r"(?:that|this|it) (?:won't|didn't|does not) (?:work|help|lead)",
    r"^(?:perhaps|maybe) (?:there|it|using|try|this|that|a (?:better|different|simpler|cleaner))",
    r"another (?:thought|option|try|attempt|look|view|interpretation|reading|path|technique|perspective|derivation"
    r"|proof)",
    r"@an? (?:simpler|easier|better|neater|cleaner|quicker|faster|smarter|shorter|slicker|more \w+) (?:way|approach"
    r"|method"
    r"|route|idea|option|argument|path)",
    r"^(?:change of plan|plan b|new (?:idea|plan|approach|strategy)|switch(?:ing)? (?:to another|approach|strategy"
    r"|tactics))",
    r"(?:it|that) (?:might|may|would) be (?:easier|simpler|better|cleaner|faster|worth)",
    r"(?:going nowhere|going in circles|no progress|get(?:s|ting)? (?:us |me )?nowhere|set (?:that|this) aside)",
    r"from (?:another|a different|a fresh) (?:angle|perspective|direction|point)",
    r"(?:we|i|one) could (?:also|instead|try|alternatively)",
    r"suppose (?:i|we) try",
    r"on the other hand, (?:we|i) (?:can|could)",
    r"is there (?:a|an|another|any) (?:\w+ )?(?:way|approach|pattern|trick|shortcut)",
  ),
}
