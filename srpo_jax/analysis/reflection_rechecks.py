"""Phrases by which the writer goes back over earlier work. `reflection_phrases` explains how they are written."""

from srpo_jax.analysis.reflection_words import (
  ASKED,
  CHECK,
  END,
  FOUND,
  LET,
  STATEMENT,
  WORK,
)

RECHECKS: tuple[str, ...] = (
  # goes back over earlier work
  r"@re-?(?:check|count|visit|examin|assess|evaluat|calculat|comput|verif|deriv|trac|work|confirm)(?:e|y|ed|ied"
  r"|ing|ation|ion)?",
  r"@(?:double|triple|cross)[- ]check(?:ed|ing)?",
  r"@re-?analy[sz](?:e|ing)",
  r"@reconsider(?:ed|ing)?",
  r"@re-?(?:think|read|do)(?:ing)?",
  r"@(?:check|verify|comput|calculat|count|add|go|look|read|trac|run|multiply|expand|evaluat|sum|list|work|think|do"
  r"|examin|solv|simulat|walk|inspect)(?:e|ing)? (?:[^\s.,;]+ ){0,6}(?:again|once more|one more time|afresh|anew|from"
  r" scratch|more (?:carefully|closely|slowly)|a second time)",
  r"^(?:let me |let us |let's |i'll |i should )?try (?:(?:this|that|it) )?again",
  r"@think (?:(?:this|that|it) )?again",
  rf"{LET} (?:just |now |quickly |carefully |also |first )?(?:check|verify|confirm|make sure|test|revisit"
  rf"|look back)(?! (?:which|each|how))",
  r"^to (?:verify|confirm|check|see (?:if|whether))(?! \w+[,.]| an? )",
  r"@to be (?:on the |extra |absolutely |completely |fully )?(?:sure|safe|certain|thorough)",
  rf"@(?:check|verify)(?:ing)? {WORK}",
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
  rf"^(?:does|do|is|did) [^.!?\n]{{1,60}}? (?:satisfy|match|make sense|check out|add up|hold up|agree|fit){ASKED}",
  r"expected output is",
  r"@(?:going|go|look|looking|coming) back(?! to (?:the )?(?:\w+ )?(?:equation|variable|x|inequality))",
  r"@(?:spot|brute-force)[- ]check(?:ing)?",
  r"^(?:we |i )?(?:verify|check|confirm)(?=[:,])",
  r"(?:let's|let us|let me) see (?:if|whether)",
  r"(?:this|that|it|which) (?:also |indeed )?(?:matches|agrees|confirms|is consistent)",
  r"as expected",
  r"(?:both|the two) (?:sides|methods|approaches|ways|results|answers|values|counts) (?:agree|match|coincide)",
  r"same (?:answer|result|value|number|count) (?:as before|as above|again|either way|both ways)",
  r"test(?:ing)? (?:this|that|it|the (?:formula|claim|answer|result|conjecture)) (?:on|with|for|at|by|against)",
  # wants to check
  rf"i(?:'d| would| still| also| just)? (?:like to|want to|wanted to|better|had better|need to|have to|must|ought to"
  rf"|should) (?:\w+ )?{CHECK}",
  rf"i(?:'ll| will|'m going to| am going to) (?:\w+ )?{CHECK}",
  r"^(?:just |only )?making sure",
  r"^before (?:(?:i|we) )?(?:mov(?:e|ing)|go(?:ing)?|continu|finali[sz]|answer|commit|conclud|submit|trust|accept"
  r"|declar"
  r"|proceed|box|rely|celebrat|call|settl)(?:e|ing)?(?: [^.,;\n]{1,30})?,",
  r"it(?:'s| is| would be| might be| may be|'d be) (?:\w+ )?(?:worth|wise|prudent|safer|best|safest|good|better)"
  r" (?:to )?(?:\w+ )?(?:check|verify|test|confirm|recheck|double|re-?count|making sure|be careful|paus)(?:ing)?",
  r"@one (?:more|last|final) (?:look|check|pass|sanity)",
  r"an? (?:closer|second|fresh|final) (?:look|check|reading)(?= (?:at|shows|reveals|over|through)|[.:,])",
  # back to the statement
  rf"(?:re-?read|back to|look(?:ing)? at|check(?:ing)?) the (?:original )?{STATEMENT}(?: again)?{END}",
  rf"(?:the )?{STATEMENT} (?:actually|really|never|nowhere|doesn't|didn't|does not|did not|does say|did say|in fact"
  rf"|explicitly|clearly|does)",
  rf"(?:nothing|nowhere|anything) in the {STATEMENT}",
  # tests a result on a small or known case, or undoes a step
  rf"(?:the|this|that|my|our) (?:\w+ )?{FOUND} (?:(?:should|would|ought to) (?:\w+ )?(?!be given)(?:give|return"
  rf"|yield|be|equal|reduce|predict)|predicts?|survives|stands|passes|holds up|seems|appears|looks (?:right"
  rf"|correct|good"
  rf"|fine|plausible|ok)|(?:works|holds)(?: (?:there|here|too|again|in (?:this|that|both)|for n =))?{END}"
  rf"|is (?:indeed"
  rf" |therefore |thus |probably |plausibly )?(?:right|correct|fine|ok|plausible|consistent|safe|sound){END})",
  rf"(?:so|then|thus|hence|therefore|and|yes|ok),? (?:it|this|that|everything|all)(?:'s| is| seems| looks| must be)"
  rf" (?:\w+ )?(?:right|correct|fine|ok|okay|good|plausible|consistent|well){END}",
  rf"(?:seems|appears|sounds|looks|feels) (?:about |quite |perfectly |pretty |very )?(?:right{END}|correct|plausible"
  rf"|reasonable|sensible|believable|consistent|legitimate|sane)",
  r"(?:is|are) (?:(?:at least|about|perfectly|quite) )?(?:about right|plausible|believable|in the right|reasonable"
  r"|sensible|realistic)(?=[.,;!]|$)",
  r"(?:right|same|wrong) (?:ballpark|order of magnitude)",
  r"as (?:it|they|he|one) (?:should|must|ought)(?: to)?(?: be)?(?=[.,;!]|$)",
  r"(?:just|exactly|precisely) (?:as|what) (?:(?:we|i|it|they) (?:expect|should|predict|want|need|started)\w*"
  r"|required"
  r"|expected|needed|given|claimed|stated|predicted)(?! to)",
  rf"and (?:it|they|this|that|both) (?:indeed )?(?:does|do|is|are|works?|holds?){END}",
  r"which is (?:indeed |exactly |precisely )?(?:what (?:we|i|it) (?:started|were|was|began|expected|got|found|should)"
  r"|the (?:integrand|(?:original|given|starting) (?:equation|function|integrand|expression|polynomial|matrix))"
  r"|(?:the|what) \w+ (?:we|i) (?:started|were given|began))",
  r"(?:differentiating|integrating|expanding|multiplying|squaring|adding|inserting|evaluating|putting|summing"
  r"|dividing"
  r"|inverting|undoing|reversing|simulating|running|tracing) (?:my|our)",
  r"(?:differentiating|integrating|expanding|multiplying|squaring|adding|inserting|evaluating|putting|summing"
  r"|undoing)"
  r" [^.;\n]{1,60} (?:back|again(?=[.,;])|recovers|returns the|the (?:original|given|integrand))",
  r"recovers the (?:original|given|first|known|formula|result)",
  r"(?:gives?|yields?|returns?|produces?|says) (?:[^\s.,;]+ ){1,3}(?:again|as well|too|once more)(?=[.,;]|$)",
  r"(?:also|again|still|likewise) (?:gives|yields|returns|produces)",
  r"(?:the )?same as (?:before|above|earlier|what i)",
  r"independent (?:check|confirmation|verification|computation|derivation)",
  rf"confirm(?:s|ed|ing) (?:the|our|my) (?:\w+ )?{FOUND}",
  rf"(?:answer|result|formula|claim|it|this|that) (?:still |therefore |indeed )?(?:holds up|stands|passes"
  rf"|survives){END}",
  r"[✓✔✅]",
  r"(?<=\w\s)does (?:indeed |in fact )?(?:have|equal|give|satisfy|hold|work|match|return|add|sum|cancel|lie|divide)"
  r"(?![^.!\n]*\?)",
  rf"which is (?:right|correct|fine|ok|okay|good|consistent|plausible|reasonable|about right){END}",
  r"into the original (?:equation|inequality|system|expression|problem)",
  r"confirms (?:it|this|that)",
  r"(?:test|consider|take|check|look at|use|experiment with|on) (?:(?:a|an|the|some|few|one) )*(?:tiny|toy"
  r"|small(?:er)?"
  r"|concrete|extreme|simple|specific|trivial|easy) (?:example|case|instance|input|number|value|graph|array|list"
  r"|n)s?",
  r"(?:experiment|play(?:ing)?|toy)(?: around)? with (?:n|x|k|small|some|a few|the|it)",
  r"the expected (?:output|answer|result)(?! (?:is|has|must) (?:an?|to) )",
  r"^(?:consistent|phew|whew|all good|so far,? so good|that works|it works|works|matches|holds|(?:good|fine|great"
  r"|ok|okay)(?=[.!]\s*$))"
  r"(?=[.!])",
  r"^(?:a )?(?:rough|quick|ballpark|crude|mental|sanity|numerical|numeric|order-of-magnitude) (?:estimate|check|test"
  r"|comparison|calculation|approximation|look)(?=\**[:,.—])",
  r"(?:quick|rough|ballpark|crude) (?:estimate|approximation|check|calculation)[^.;\n]{0,40} (?:confirms|shows"
  r"|suggests"
  r"|agrees|supports|tells|says)",
  r"^(?:dimensions|units|dimensional analysis|edge cases?|boundary cases?|corner cases?|smallest cases?"
  r"|base case check)"
  r"(?=\**:)",
  r"(?:dimensions|units) (?:are off|agree|match|work out|check|don't|do not|come out|are consistent|look|seem)",
  r"dimensionally",
  r"^trying (?:a )?(?:small|simple|few|concrete|some)",
)
