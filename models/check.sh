#!/bin/sh
# Checks the model in all its variants and prints a table; exits with 1 if anything is not as expected.
# check.sh NAME...: only these; for one that is caught, the steps that lead there too. Needs spin and gcc.
set -eu
cd "$(dirname "$0")"
for tool in spin gcc; do
    command -v $tool >/dev/null || { echo "$tool is not installed (Debian, Ubuntu: apt install spin gcc)" >&2; exit 2; }
done
here=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
only=" $* "
wrong=0

# name, F (faults) and M (moves by a user), the properties asked, what is expected, search, other definitions
# search: all    every state, every assertion, and every state in which nothing can happen any more
#         cycles every cycle; there is none, so every run is finite and "nothing can happen any more" is its end
#         short  breadth first, for the shortest way to a violation
#         deep   depth first: the first way to a violation
variants='
journal         2 0 all     holds  all
journal-cycles  1 0 5       holds  cycles
moved           1 1 all     holds  all
moved-twice     0 2 all     holds  all
moved-cycles    0 1 5       holds  cycles
gap             1 0 all     holds  all     GAP
gap-moved       0 1 all     holds  all     GAP
cascade         1 0 all     holds  all     CASCADE
engine          1 1 but-3   holds  all     ENGINE
engine-faults   2 0 but-3   holds  all     ENGINE
engine-gap      1 0 but-3   holds  all     ENGINE,GAP
engine-cycles   1 0 5       holds  cycles  ENGINE
engine-twice    1 0 3       caught short   ENGINE
broken-drop     1 1 5       caught deep    BROKEN_DROP
broken-newer    0 1 9       caught short   BROKEN_NEWER
broken-answer   0 1 9       caught short   BROKEN_ANSWER
broken-quiet    1 0 7       caught short   BROKEN_QUIET
broken-global   1 0 4       caught short   BROKEN_QUIET_GLOBAL,CASCADE
broken-late     1 0 6       caught short   BROKEN_LATE_TURN
broken-seen     2 0 10      caught short   BROKEN_SEEN
flaw-forgets    2 0 10      caught short   FLAW_FORGETS
flaw-prepare    1 0 2       caught short   FLAW_PREPARE,ENGINE
flaw-keeps      1 0 2       caught short   FLAW_KEEPS
flaw-standing   2 0 2       caught short   FLAW_STANDING
flaw-waits      1 1 5       caught cycles  FLAW_WAITS,ENGINE
flaw-lost       2 0 8       caught short   FLAW_LOST
gate            2 0 9       holds  all
gate-one        1 0 9       holds  all     ENGINES=1,WRITERS=3
gate-hurries    1 0 9       caught short   BROKEN_ONCE_MORE
gate-statement  1 0 9       caught short   BROKEN_RELEASE
gate-reach      1 0 9       caught short   BROKEN_REACH
gather          1 2 11-12   holds  all
gather-faults   2 1 11-12   holds  all
gather-three    1 1 11-12   holds  all     KIDS=3
gather-old      0 3 11      caught short   FLAW_OLD_COUNT
gather-row      0 1 11      caught short   FLAW_OLD_COUNT,BROKEN_ROW
gather-seen     0 0 12      caught short   BROKEN_SEEN
gather-first    0 0 12      caught short   BROKEN_COUNTS_FIRST
gather-trigger  0 0 12      caught short   BROKEN_COUNTING_TRIGGER
gather-tick     0 1 12      caught short   BROKEN_TICK
admission       2 0 13-15   holds  all
admission-one   2 0 13-15   holds  all     LIMIT=1
admission-count 0 0 13      caught short   BROKEN_COUNTS_FIRST
admission-lost  1 0 13      caught short   BROKEN_FORGETS_LOST
admission-pool  0 0 13      caught short   BROKEN_NO_POOL_LOCK
admission-order 0 0 14      caught short   BROKEN_ORDER
admission-turn  0 0 15      caught short   BROKEN_TURN,LIMIT=1
admission-kept  0 0 15      caught short   BROKEN_KEPT
'

# The properties' numbers as bits.
bits() {
    case $1 in
        all) echo 2046 ;;
        but-3) echo 2038 ;;
        11-12) echo 6144 ;;
        13-15) echo 57344 ;;
        *) echo $((1 << $1)) ;;
    esac
}

# Sets result, states.
check() {
    defs="-DFAULTS=$2 -DMOVES=$3 -DCHECKED=$(bits "$4")"
    for d in $(echo "${7:-}" | tr , ' '); do defs="$defs -D$d"; done
    case $6 in
        all) how="-O1 -DSAFETY" args="" ;;
        cycles) how="-O1 -DNP" args="-l" ;;
        deep) how="-O0 -DSAFETY" args="" ;;
        short) how="-O0 -DSAFETY -DBFS" args="" ;;
    esac
    cd "$work"
    case $1 in gate*) model=gate.pml ;; gather*) model=gather.pml ;; admission*) model=admission.pml ;; *) model=journal.pml ;; esac
    rm -f pan* *.pml *.trail
    cp "$here/$model" .
    spin $defs -a $model >made 2>&1 && gcc $how -w -DCOLLAPSE -DVECTORSZ=2048 -DMEMLIM=3500 -o pan pan.c 2>>made ||
        { cat made >&2; exit 2; }
    ./pan -m200000 -n $args >out 2>&1 || true
    states=$(sed -n 's/^ *\([0-9]*\)\( states, stored.*\)/\1/p' out | head -1)
    if grep -q '^pan:1: non-progress cycle' out; then
        result=caught
    elif bit=$(sed -n 's/^pan:1: assertion violated ( *!((\{1,2\}[0-9]*&(1<<\([0-9]*\))).*/\1/p' out) && [ -n "$bit" ]; then
        result=caught
        [ $(( $(bits "$4") & (1 << bit) )) -ne 0 ] || result=other
    elif grep -q 'errors: 0' out && ! grep -Eq 'not completed|too small|out of memory|max search' out; then
        result=holds
    else
        result=failed
    fi
}

printf '%-16s %-7s %-9s %-9s %-7s %10s %8s\n' variant bounds property expected result states seconds
while read -r name faults moves property expected search definitions; do
    [ -n "$name" ] || continue
    [ "$only" = "  " ] || case $only in *" $name "*) ;; *) continue ;; esac
    start=$(date +%s.%N)
    check "$name" "$faults" "$moves" "$property" "$expected" "$search" "$definitions"
    seconds=$(echo "$start $(date +%s.%N)" | awk '{ printf "%.1f", $2 - $1 }')
    mark=
    [ "$result" = "$expected" ] || { mark=' <-- not as expected'; wrong=1; }
    printf '%-16s %-7s %-9s %-9s %-7s %10s %8s%s\n' \
        "$name" "F$faults M$moves" "$property" "$expected" "$result" "${states:-?}" "$seconds" "$mark"
    if [ "$result" = failed ]; then tail -20 out >&2; fi
    if [ "$only" != "  " ] && [ "$result" = caught ]; then
        spin $defs -k $model.trail -T $model 2>&1 |
            grep -E '^ *(worker|stage|a user|the |a re|a gateway|a 4xx|<<<)' | sed 's/^ */    /'
        if grep -q 'assertion violated' out; then echo "    (and the next statement shows it)"; fi
    fi
done <<END
$variants
END
[ $wrong = 1 ] || [ "$only" != "  " ] || echo "all as expected"
exit $wrong
