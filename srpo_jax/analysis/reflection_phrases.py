"""Our list of phrases of reflection, by kind. All are English.

A phrase is a fragment of a regular expression over lower-case text. A space stands for any white space. Its first
character may say where it counts:

  ^ only where a thought begins, because in word problems people wait and pictures hang on walls
  @ only if no one but the writer acts in its clause: not "the mechanic double-checked 12 cars"
  ~ the same, in the whole sentence before it
"""

from collections.abc import Mapping

from srpo_jax.analysis.reflection_faults import FAULTS
from srpo_jax.analysis.reflection_rechecks import RECHECKS
from srpo_jax.analysis.reflection_words import (
  ASKED,
  EASIER,
  END,
  FAULT,
  LET,
  MOMENT,
  PAUSE,
  QUESTION,
  SAID,
  SLIPS,
  WAY,
)

PHRASES: Mapping[str, tuple[str, ...]] = {
  "recheck": RECHECKS,
  "hesitation": (  # doubts the last statement
    *FAULTS,
    rf"^wait{PAUSE}",
    r"^wait wait",
    rf"^wait (?:{MOMENT}|no|not|but|maybe|actually|that|that's|this|what|why|how|if|i|we|so|it's)",
    r"^wait (?:is (?:that|this|it)|the (?:problem|question))",
    rf"^(?:hold|hang) on(?:{PAUSE}| {MOMENT})",
    r"^actually(?:,| (?:no|wait|it|it's|that|that's|this|i|we|the)(?!\w))",
    r"^no(?:, wait|,| wait)(?=,? (?:wait|that|that's|this|it|it's|not|i|we)(?!\w))",
    r"^hmm+",
    rf"^hm{PAUSE}",
    r"^uh[- ]oh",
    rf"^(?:oops(?:ie)?|whoops|ar+gh+|ugh|erm+|er+|um+|uh+|eh|hmph|humph|d'?oh|drat|darn|dang|damn|shoot|gah|bah|blast"
    rf"|crap|ack|oof|ouch|eek|oh (?:dear|my|boy|well|wait)|good grief|my goodness|nope|nah|hold up|pardon(?: me)?"
    rf"|careful"
    rf"|stop|pause|almost(?=[.!:])|one (?:sec|second|moment)|excuse me|blimey|tsk|aha|facepalm|jeez|g+rr+|mea culpa"
    rf"|rather(?=,)){PAUSE}",
    r"(?:(?<=\.\.\s)|(?<=[—–…]\s))(?:no(?=,)|sorry|scratch|or (?:is|does|do|are|can|did|rather))(?=\W)",
    r"(?:i mean(?=[,:]| [^\s\w]*\d)|make that [^\s.!?]*\d|strictly speaking|should read|slipped (?:my|through|past))",
    r"and not [^\s.!?\w]*\d",
    rf"{FAULT} (?:has |had |have |must have )?(?:crept|slipped|snuck|somewhere)",
    r"(?:what|than) (?:it|they) (?:should|ought|can|could)",
    r"(?:bothers|worries|puzzles|troubles|bugs|confuses|surprises|strikes) me",
    r"but then [^.!?;\n]{1,40} (?:twice|impossible|negative|wrong|too \w+)",
    r"i'm (?:second-guessing|questioning|doubting|rethinking)",
    r"there(?:'s| is) (?:a|one|another) (?:\w+ )?(?:subtlety|complication|snag|caveat|wrinkle|twist|hitch|pitfall)",
    r"makes me (?:doubt|wonder|suspicious|nervous|think|uneasy)",
    r"^(?:no idea|funny|curious|oddly|strangely|weirdly|suspiciously)(?=[,:!.—]| (?:if|why|how|whether|enough))",
    r"(?:isn't|is not|not|hardly) (?:at all |so |really |yet )?(?:obvious|clear to me|guaranteed|clear (?:why"
    r"|whether|that"
    r"|how|yet))",
    r"(?:i'd|i would) (?:\w+ )?(?:need|guess|expect|say|have|prefer|get|be|doubt)",
    r"(?:i|i've|i have) (?:read|took|treated|typed|copied|interpreted) [^.!?\n]{1,30} (?:as|where|instead)",
    r"(?:i|i've|i have) (?:\w+ly |only |just |so far |never |not )?(?:assumed|ignored|missed|verified|checked|typed"
    r"|tested"
    r"|proved|shown|accounted|considered|used (?:the|that) [^.!?\n]{1,30} twice)",
    r"(?:claim|assumption|step|statement|substitution|choice) (?:that )?i (?:made|used|took)",
    r"(?:ignore|disregard|delete|drop) the (?:last|previous|above|first|earlier) (?:\w+ )?(?:line|step|sentence|claim"
    r"|equation|paragraph|remark|part)",
    r"(?:i'm|i am) (?:\w+ )?(?:content|satisfied|confident|reassured|having|tempted|afraid|sceptical|happy with)",
    r"^(?:isn't|aren't|shouldn't|doesn't|don't|didn't|wouldn't|can't|couldn't|wasn't|haven't|won't) [^.!?\n]{1,60}\?",
    r"(?:do|does|did) (?:they|it|the (?:problem|question)|that|this) (?:\w+ )?(?:mean|want|intend|imply"
    r"|ask)(?=[^.!\n]{0,30}\?)",
    r"(?:breaks down|falls apart|goes wrong|fall short)",
    r"^(?:oh|hm+|well|but|and|ok|okay|er|um),? (?:no|nope|not (?:quite|so|really|exactly)|technically"
    r"|almost)(?=[.,:;!—])",
    r"^not (?:quite|exactly|really|entirely|so|necessarily|right|correct|true|good|yet)(?=\**[.,:;!—])",
    r"^(?:close|nice try|good try|nearly|almost)(?: enough)?,? but",
    r"(?:isn't|is not|that's not|it's not|not) quite (?:right|it|true|what|correct|the (?:same|case|point|question))",
    r"or so (?:i|we|it)",
    # blames itself
    r"(?:silly|stupid|foolish|dumb|careless|sloppy|clumsy|hasty|naive|shame|typical|lazy|bad) (?:of |on )?me(?!\s+\w)",
    r"(?:silly|stupid|foolish|dumb|careless|sloppy|clumsy|hasty|naive|shame) (?:of|on) me",
    r"^how (?:silly|stupid|careless|embarrassing|foolish|dumb|could i)",
    r"^(?:foolishly|stupidly|embarrassingly|carelessly|mistakenly|naively|erroneously|hastily|annoyingly"
    r"|wrongly)(?=,| i )",
    r"(?:that|this|which|it) was (?:\w+ )?(?:careless|sloppy|silly|stupid|hasty|premature|naive|rash|foolish|dumb"
    r"|too (?:quick|hasty|fast|optimistic|easy)|a (?:slip|typo|blunder|bad|false|dead))",
    rf"(?:my|our) (?:\w+ )?(?!problem|issue|catch){FAULT}",
    rf"{FAULT} (?:is|was|lies|lay|must be|comes|came|sits|occurred|crept) (?:in|with|from|at|into|that) (?:my|our|i"
    rf"|we)",
    r"(?:i|we) (?:had|got|read|took|did|have|wrote) (?:it|this|that|them|those|the [^\s.,;]+) (?:backwards|wrong"
    r"|reversed"
    r"|the wrong way|mixed up|upside down|confused|the other way|swapped|in the wrong)",
    r"i [^.!?\n]{1,50} without (?:thinking|checking|noticing|justif|considering|realizing|proof|verifying|proving)\w*",
    r"i (?:shouldn't|should not|mustn't|can't|cannot) (?:\w+ )?(?:just|simply|use|assume|apply|divide|cancel"
    r"|conclude|rely"
    r"|treat|ignore)",
    r"i (?:now )?(?:notice|noticed|spot|spotted|see|found|caught) (?:now|what|where|(?:a|an|the|my) (?:\w+ )?"
    rf"{FAULT})",
    rf"there (?:seems|appears|has|ought) to be (?:a|an|some) (?:\w+ )?{FAULT}",
    rf"there(?:'s| is| was| must be) (?:a|an|some) (?:\w+ )?{FAULT} in (?:my|the above|that|this)",
    r"(?:it )?(?:seems|appears|looks)(?: that| like| as if| as though| to me that)? i(?:'ve|'m)?",
    # sets what it said against what it sees now
    rf"i (?:first|originally|initially|at first|earlier|previously|just) {SAID}",
    rf"(?:at first|initially|originally|earlier|previously|before),? i (?:\w+ )?{SAID}",
    r"(?:yet|but|whereas|while|though|although) (?:earlier|before|above|previously|just now),? (?:i|we)",
    rf"(?:what|the \w+|that|than|as) (?:i|i'd|i've) (?!had|took|read){SAID}",
    r"^what (?:i|i'd|i've) (?:\w+ )?(?:had|wrote|called|did)",
    r"i (?:thought|said|claimed|guessed|hoped|expected|figured|believed|imagined|supposed)(?! of)",
    r"(?:contrary|as opposed) to (?:what (?:i|we)|my|our|the (?:claim|statement|above|earlier))",
    r"unlike (?:what|my|in my)",
    r"i (?:keep|kept) (?:getting|finding|ending|coming|making|forgetting|arriving|going|mixing)",
    r"(?:i'm|i am) (?:now |still |suddenly )?getting [^.;\n]{1,30}(?: now|, not| instead| rather than| but| again)",
    r"(?:it's|that's|i get|we get) [^\s.!?]*\d\S*,? (?:and )?not [^\s.!?]*\d",
    r"the (?:correct|right|true|proper) (?:\w+ )?(?:value|answer|result|count|total|sum|number|expression|formula|sign"
    r"|exponent|product|derivative) (?:is|should be) [^.;\n]{1,30}(?:,? not|, and not| rather than"
    r"| instead of) [^.;\n]{1,30}"
    r"(?:as (?:i|we|stated|before|above|computed|claimed)|above|earlier|from before)",
    r"my (?:[\w-]+ )?(?:formula|code|count|loop|function|algorithm|program|recurrence|list|fix|proof|reasoning|argument"
    r"|logic|algebra|arithmetic|calculations?|computation|derivation|assumption|claim|conjecture|guess|estimate"
    r"|setup|indexing|handling|head|interpretation|reading|memory|hunch|intuition|hope|suspicion|gut feeling|thought"
    r"|counterexample|factori[sz]ation|conclusion|bound|substitution|(?:answers?|results?|total|value)(?!,?[ :=]+(?:is "
    r"|are |to )?[\d$\\]))(?! (?:is|will be) (?:to|as|that))",
    # contradictions
    r"(?:which|that|this|it)(?: is|'s| would be| seems| sounds| looks) (?:\w+ )?(?:absurd|ridiculous|nonsens(?:e|ical)"
    r"|preposterous|ludicrous|bizarre|weird|silly|crazy|dubious|doubtful|fishy|alarming|unlikely|contradictory)",
    r"(?:makes|make|making) no sense",
    r"(?:can't|cannot|couldn't) possibly",
    r"(?:clash(?:es)?|at odds|disagrees?|(?:doesn't|does not|don't|do not) (?:square|agree|jibe|tally|match up"
    r"|sit well))"
    r" with",
    r"conflicts? with (?:the (?:given|condition|earlier|first|statement|problem|claim|result)|what|my|our)",
    r"(?:two|both) (?:\w+ )?(?:counts|answers|results|methods|computations|calculations|approaches|totals|ways|routes"
    r"|estimates)[^.!?;\n]{0,40} (?:differ|disagree|don't|do not|conflict|clash|can't both|cannot both)",
    r"one of (?:them|the two|these two|those two|my|the computations|the calculations) (?:\w+ ){0,3}(?:wrong|off|faulty"
    r"|incorrect|mistaken)",
    r"an? (?:probability|fraction|percentage|cosine|sine|correlation) (?:\w+ )?(?:above|over|greater than|larger than"
    r"|exceeding|bigger than|more than) (?:1|one|100)",
    r"(?:total|sum|probability|answer|result) (?:\w+ )?(?:would be|is|exceeds|of) [^.;\n]{1,20}, which (?:is impossible"
    r"|can't|cannot)",
    r"(?:that|this|it) would (?:mean|give|make|imply|require) [^.;!?\n]{1,60}(?:, but|, yet|absurd|more than"
    r"|impossible)",
    r"(?:hard to believe|too good to be true|after all(?=[.!;:—]|$))",
    r"(?:factor|sign|minus|term|digit|zero|constant|bracket)(?: \S+){0,3} (?:got|went|has gone|has been) (?:lost"
    r"|missing"
    r"|dropped|forgotten|astray)",
    r"^somewhere (?:i|a|an|along|above|in (?:my|the (?:algebra|calculation|computation|steps)))",
    r"(?:that|this|my|the|last) (?:last |previous |earlier |first |second )?(?:step|move|division|cancellation"
    r"|inference"
    r"|claim|argument|conclusion|swap|interchange|assumption|shortcut|jump) (?:is|was|seems|looks) (?:\w+ )?(?:illegal"
    r"|illegitimate|invalid|unjustified|premature|not (?:allowed|valid|justified|safe|legal)|bogus|dubious|shaky|hasty"
    r"|suspect|unwarranted)",
    r"(?:needs?|has|have) to be (?:corrected|redone|fixed|recomputed|halved|recounted|rechecked)",
    r"(?:must|should) be (?:redone|recomputed|recounted|rechecked)",
    r"looks? (?:\w+ )?(?:suspicious|fishy|dubious|off(?=[.,;!:]))",
    # thinks again
    r"on (?:closer|second|further|a second|another|a closer|careful|more careful) (?:inspection|look|reading"
    r"|examination"
    r"|reflection|consideration|glance)",
    r"^(?:on|upon) reflection,",
    r"come to think of it",
    r"now that i (?:think|look|see|consider|check|read|know)",
    r"@thinking (?:\w+ )?(?:(?:it|this|that) )?(?:over|through|more|again|some more|further|a bit|carefully)",
    r"@(?:thinking|looking|reading|reflecting)(?: \w+){0,4} (?:more|further|again|harder|closely|carefully)",
    r"@having (?:second thoughts|another look|looked|thought|reread|re-read)",
    r"(?:in hindsight|in retrospect|with hindsight)",
    r"let me (?:see(?=[,.:—…])|get this straight|take (?:stock|another|a (?:closer|second|step|fresh))|have (?:a"
    r"|another)"
    r" (?:look|closer|second)|be (?:\w+ )?careful|rethink|rephrase|restart|regroup|backtrack)",
    # doubts
    r"(?:i'm|i am) not (?:[\w%]+ ){0,3}(?:sure|certain|convinced|happy|comfortable|satisfied|confident|clear)",
    r"(?:i'm|i am) (?:\w+ ){0,2}(?:unsure|uncertain|doubtful|s[ck]eptical|suspicious|uneasy|wary|hesitant|nervous|torn"
    r"|bothered|worried|puzzled|confused|overcounting|undercounting|double-counting|missing)",
    r"^unsure",
    r"^not(?: (?:entirely|fully|quite|so|really|yet|totally))? (?:sure|convinced|certain)(?!\w)",
    r"i (?:still )?(?:can't|cannot|don't|do not|couldn't|didn't) (?:\w+ )?(?:see (?:why|how|where)|understand|believe"
    r"|explain|tell (?:if|whether)|recall|remember|trust|buy|like|justify|know (?:if|whether|why))",
    r"i find (?:that|this|it) (?:\w+ )?(?:hard|odd|strange|suspicious|difficult|surprising|unlikely|weird)",
    r"i have (?:a (?:feeling|suspicion|bad feeling|doubt|nagging)|my doubts|doubts|the feeling|second thoughts"
    r"|to admit)",
    r"(?:perhaps|maybe) (?:i|we)(?:'m|'ve)? (?:\w+ed|was|were|am|are|have|had|did|got|miss\w*|need|made|lost"
    r"|overcounting)",
    r"if (?:i'm|i am) (?:not mistaken|right|reading)",
    r"(?:asks?|asked|asking|wants?|wanted) (?:for |about )?[^.;\n]{1,40}(?:, not| and not| rather than"
    r"| instead of|, but"
    r" i|, and i|, while i)(?= )",
    # asks itself
    rf"^(?:or )?(?:does|do|is|are|can|could|would|has|was|were|did|will) [^.!?\n]{{1,50}} (?:really|even|actually|truly"
    rf"|legal|allowed|valid|legitimate|plausible|realistic|reasonable|right|correct|ever|rather than|too \w+|include"
    rf"|count"
    rf"|cover|consistent|still|always|enough|safe|sure){QUESTION}",
    rf"^(?:does|do|did) (?:the|this|that|my|it) (?:\w+ )?(?:argument|formula|claim|proof|answer|result|code|method|rule"
    rf"|identity|theorem|bound|logic|recurrence|order|loop) {QUESTION}",
    rf"^should (?:it|this|that|there|they|the) {QUESTION}",
    rf"^(?:did|have|should|are|were|do) we {QUESTION}",
    rf"^(?:could|might|can) (?:there be|(?:this|that|it) be|i have) {QUESTION}",
    rf"^(?:so |but )?why (?:would|should|did|isn't|doesn't|didn't|aren't) {QUESTION}",
    rf"^how (?:can|could|would) (?:a|an|this|that|it|both|there|i) {QUESTION}",
    rf"^where(?:'s| is| does| did| are) (?:the|my) (?:missing|extra|lost|discrepancy|{FAULT}|factor){QUESTION}",
    r"what (?:am|did|have|do|should|was) i(?= [^.!;\n]{1,60}\?)",
    rf"^what happens (?:if|when|for|at|to) {QUESTION}",
    rf"^(?:or )?(?:is|are) (?:there|they) (?:also |still |perhaps |maybe )?(?:other|more|another|something|any other)"
    rf" {QUESTION}",
    r"(?<=,\s)(?:right|correct|isn't it|is it|doesn't it|does it|don't they|isn't that so|no|aren't they"
    r"|or is it)(?=\?)",
    r"^surely(?=[ ,])",
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
    rf"(?:i|we) (?:may|might|must|could|seem to|probably) have (?:made|missed|used|swapped|{SLIPS})",
    rf"(?:i|we|i've|we've|i had) (?:just |also |accidentally |mistakenly )?{SLIPS}",
    r"i (?:\w+ )?(?:copied|dropped|swapped|flipped|skipped|lost|left out|botched|should have|shouldn't have)",
    r"(?:i|we) (?:used|took|applied|picked|had) the wrong",
    r"(?:i|we)(?:'ve| have)? (?:\w+ )?made (?:a|an) (?:\w+ )?(?:mistake|error|slip|blunder|typo)",
    r"@(?:silly|careless|arithmetic|sign|algebra|copying|off-by-one) (?:error|mistake|slip)",
    rf"^my (?:bad|mistake|error|apologies){PAUSE}",
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
    r"^(?:did|have|am|should|do|can|was|could) i(?= [^.!;\n]{0,60}\?)",
    r"^(?:correction|edit|revised(?: \w+)?|fix|corrected(?: \w+)?|erratum|amendment|revision|update)(?=\**[:,])",
    r"^(?:scratch|strike|forget) that",
    r"^not so fast",
    r"^never mind",
    r"~on second thoughts?",
    rf"(?<!why\s)(?:is|was) (?:that|this|it) (?:really |actually )?(?:right|correct|true|justified){ASKED}",
    r"^(?:oh|ah),? (?:i|no|but)",
    r"but (?:the|this) (?:question|problem) (?:\w+ )?(?:wants|asks|asked|says|states|said|requires)",
    r"(?:not|isn't|wasn't) what (?:is|was|we|the|they|i)",
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
    r"(?:(?:what|where|why) (?:did|have|do|should|can|was)|am) i(?= [^.!;\n]{1,60}\?)",
    r"^but (?:is|does|did|why|how)(?= [^.!;\n]{1,60}\?)",
    r"i (?:wrongly|incorrectly|mistakenly|implicitly|accidentally)",
    r"i (?:assumed|treated|ignored|missed|reversed|transposed|conflated|doubt|wonder|suspect)",
    r"i (?:was|am|'m) (?:assuming|using|treating|puzzled|worried|overcomplicating|overthinking)",
    r"i (?:added|subtracted|multiplied|divided|counted|used|took|read|wrote|computed|solved) [^.!?\n]{0,50}"
    r"(?:instead|rather than|when i|where the|twice|by mistake|wrong)",
    r"sign (?:is|was|should be) (?:flipped|wrong|off|negative|reversed)",
    rf"{LET} (?:\w+ )?(?:fix|correct|undo|adjust|amend|slow down|pause|think(?! about the))",
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
    r"^then again(?=,)",
  ),
  "exploration": (  # tries another way or a special case
    r"^alternatively",
    # leaves a path
    r"^(?:forget|scrap|ditch|abandon|enough of|enough with|so much for|never mind|give up on|giving up on|abandoning"
    r"|scrapping|ditching|dropping) (?:about )?(?:the|that|this|it|all|my|these|those|\w+ing|induction|brute)",
    rf"@(?:drop|discard|leave|set aside|stop|park|skip) (?:the|this|that|my) (?:[^\s.,;]+ )?{WAY}",
    rf"{LET} (?:\w+ )?(?:drop|abandon|scrap|ditch|forget|discard|give up|set (?:this|that|it) aside|stop|throw"
    rf"|switch|restart"
    rf"|revert|rethink|reformulate|regroup|not|change (?:tack|course|strategy|approach|direction"
    rf"|plan))(?! the (?:bound|sign))",
    r"i(?:'m| am|'ll| will|'d) (?:going to |now |rather |better )?(?:abandon|drop|scrap|give up|stop|switch|start over"
    r"|restart|go back|change|set (?:this|that|it) aside)",
    r"i'd (?:better|rather)",
    r"start (?:again|over|afresh|from scratch)(?=[.,;:!]| (?:with|from|more|and|by))",
    r"^unfortunately",
    r"(?:would|might|may) be (?:better|smarter|wiser|preferable)(?=[.,;!]|$)",
    r"(?:goes|go|went|leads?|led|gets?|getting) (?:me |us )?nowhere",
    r"(?:put|set|leave|lay) (?:that|this|it) aside",
    r"(?:didn't|doesn't|won't|does not|did not) (?:really |seem to )?(?:simplify|help|work out|pan out|get (?:us|me)|go"
    r" anywhere|lead anywhere|buy|gain)",
    r"(?:take|takes) (?:ages|forever|far too)",
    r"(?:time to|better|(?:let's|let me)(?! try)) (?:try|switch|change|rethink|look for|search for|hunt for)",
    r"(?:hopeless|infeasible|intractable|unwieldy|too (?:messy|tedious|cumbersome|complicated|unwieldy|ambitious))",
    r"try(?:ing)? (?:something|some other)",
    r"a (?:second|third) (?:way|method|route|proof|derivation|approach|argument|opinion)",
    r"^or (?:use|try|take|consider|look|apply|think|we|i|just|one|count|simply)",
    r"(?:might|may) as well",
    r"if (?:i |we )?instead",
    r"is there some [^.!?\n]{1,50}\?",
    r"there (?:has|must|ought) (?:to )?be (?:a|an|some) (?:\w+ )?(?:trick|way|shortcut|reason|pattern|approach)",
    r"(?:isn't|is not|not|aren't|wasn't) (?:really )?(?:going to (?:work|help|be enough)|getting (?:me "
    r"|us )?(?:anywhere|far)"
    r"|leading (?:me |us )?anywhere|going anywhere|helping|promising|working out|paying off|the way to go)",
    r"(?:that|this|it) (?:went (?:badly|wrong|nowhere)|didn't (?:help|work|go|pan out)|isn't (?:it|right|working"
    r"|helping)"
    r"|is (?:hopeless|pointless|too (?:messy|hard|complicated|slow|tedious)|getting out of hand))",
    rf"{LET} [^.;!?\n]{{1,60}} instead{END}",
    rf"(?:is|are|would be|seems|looks) (?:much |far |a lot |probably |certainly |a bit "
    rf"|perhaps )?{EASIER}(?: here)?{END}",
    rf"an? (?:[^\s.,;]+ )?(?:{EASIER}|cleverer|nicer|smarter|better) (?:{WAY}|choice|formula|view|description)",
    r"^back to (?:square one|the (?:drawing board|start|beginning|definition|basics|original|{STATEMENT}))",
    r"(?:square one|drawing board)",
    rf"{LET} (?:\w+ )?(?:go with|attack|tackle|do|see|view|count|compute|derive|prove|solve"
    rf"|approach) (?:\w+ )?(?:it|this"
    rf"|that|them|a (?:cleverer|different|smarter|new))(?: \w+)? (?:differently|another way|the other way|by|with"
    rf"|in another"
    rf"|from another|via|substitution|way|approach)",
    r"(?:another|alternative|alternate|some other) (?:approach|way to|method|strategy|idea|angle|possibility is"
    r"|route|tack|argument)",
    r"(?:another|a different) way",
    r"different (?:approach|method|strategy|idea|angle on|tack|route|argument|technique|perspective)",
    r"^what if",
    r"^(?:what|how) about",
    rf"{LET} (?:try|explore) (?:a|an|another|some|something|the case|this|that|using|with|instead|differently|from)",
    rf"{LET} (?:try|take|test) (?:it with )?[a-z](?: =|(?==))",
    rf"{LET} (?:look at|think about) (?:it|this) (?:differently|from|another)",
    rf"{LET} (?:think differently|start over|backtrack|go back|step back|back up)",
    r"^(?:starting|start|back) (?:over|again|to the start|from scratch)",
    r"^(?:rewind|backtrack(?:ing)?|stepping back)(?! (?:works|is|means|search|algorithm))",
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
