"""Phrases by which the writer takes back its own work. `reflection_phrases` explains the notation."""

from srpo_jax.analysis.reflection_words import ASKED, SAID, SLIPS

OWN = (
  r"(?:step|line|bound|formula|claim|idea|guess|plan|trick|choice|case|count|sum|term|factor|sign|value|equation|proof"
  r"|argument|approach|attempt|method|loop|code|program|recursion|substitution|candidate|transformation|assumption"
  r"|estimate|list|table|rule|pattern|base case|condition|index|formulas|steps|terms|cases|candidates|transformations)"
)
DID = (
  r"(?:multiplied|divided|added|subtracted|squared|cancelled|canceled|counted|compared|read|wrote|used|took|set|put"
  r"|treated|replaced|proposed|settled on|suggested|picked|chose|started|stopped|included|excluded|summed|rounded"
  r"|converted|integrated|differentiated|substituted|plugged|solved|answered|applied|labelled|ordered|indexed)"
)

FAULTS: tuple[str, ...] = (
  r"(?:is|was|are|were) (?:all )?(?:my own (?:doing|making|fault)|on me|my fault)",
  r"(?:of|from) mine (?:was|were|is|are|has|had|can't|cannot|isn't|wasn't|fails|failed|breaks|broke)",
  rf"my (?:[\w-]+ ){{0,2}}{OWN} (?:has|have|had|needs?|failed|fails|broke|breaks|ignores|misses|forgot|counts|assumes"
  r"|skips|does not|doesn't|did not|didn't|only|never|wrongly)",
  r"my (?:\S+ ){1,2}(?:has|have|needs?|ought|must) to (?:be )?(?:divided|multiplied|halved|doubled|dropped|replaced"
  r"|corrected|changed|fixed|redone|negated|flipped|come|go)",
  r"i(?:'d| had|'ve| have) been (?:\w+ly )?\w+ing",
  r"i (?:was|were|am|'m|keep|kept) (?:\w+ly )?(?:solving|computing|counting|using|treating|reading|assuming|ignoring"
  r"|forgetting|confusing|mixing|conflating|comparing|adding|multiplying|dividing|looking) [^.!?\n]{1,60}"
  r"(?:instead|rather than|not the|when|but|while|with)",
  r"(?:i'm|i am|am i|was i|i was) (?:just |now |probably |maybe )?(?:confusing|mixing|conflating|muddling|mistaking)",
  r"^(?:strike|scrap|scratch|discard|forget|cross out|ignore|disregard) (?:the|my|this|that|all|everything|what)"
  r"(?: \w+)? (?:line|step|remark|claim|sentence|attempt|part|above|i|of)",
  r"as i (?:had|have|did|put|stated|wrote) (?:it|above|before|earlier|there)",
  r"why (?:did|do|am|was|have|would) i",
  rf"is (?:that|this|it|what i did) (?:\w+ )?(?:legit|legal|ok|okay|allowed|valid|fair|safe|sound){ASKED}",
  rf"(?:that|which|where|when) i (?:just |first |initially |wrongly |so )?{DID}",
  rf"i (?:just |first |initially |wrongly |mistakenly |blindly |foolishly )?{DID} [^.!?\n]{{1,60}}(?:instead"
  r"|rather than|but (?:it|that|the|they)|without|even though|although|though|not realizing|by (?:accident|mistake)"
  r"|twice)",
  r"(?:a few|some|two|three|several|a couple of) (?:lines|steps|sentences|paragraphs) (?:up|above|back|earlier|ago)",
  r"(?:so|and|thus|hence|therefore|then|it's|its) (?:really |actually )?not [^\s.!?]*\d[^\s.!?]* but",
  r"(?:so|then) (?:one|some|two|three|a few|all|most) of my",
  r"(?:wasted|burned|spent) (?:far |way )?(?:too much|enough|a lot of|a page|a whole|all that)",
  r"(?:produced|gave me|brought|led to) nothing(?: usable| useful)?",
  r"(?:starting|start|beginning|begin) (?:afresh|anew)",
  r"(?:might|may|could|will|should|would) be (?:\w+ )?(?:kinder|friendlier|gentler|more promising|less painful)",
  r"(?:it )?turns out (?:that )?(?:i|my|i'd|i've)",
  rf"i (?:\w+ )?{SAID} [^.!?\n]{{1,60}}, (?:but|yet|though|while|whereas|when) (?:it|that|the|this|there)",
  rf"(?:i see|i realize|i realise|realizing|realising) (?:now )?(?:that )?(?:i|my|it|{SLIPS})",
)
