# Draws growth.csv, the file `data`.
set terminal svg size 1200,760 font 'sans,13' background 'white'
set datafile separator ','
set multiplot layout 2,3
set grid
set logscale xy
set format xy '10^{%T}'
set key top left Left reverse
set style data linespoints
set pointsize 0.4

panel(p, s) = strcol(1) eq p && strcol(2) eq s ? column(3) : NaN

set title 'time per op, forward'
set xlabel 'elements'
set ylabel 'microseconds'
plot for [s in 'add gelu sum softmax layer_norm'] data using (panel('op', s)):4 title s noenhanced

set title 'training step against batch'
set xlabel 'batch'
plot for [s in '"mlp 1 thread" "mlp 2 threads"'] data using (panel('batch', s)):4 title s

set title 'training step against depth'
set xlabel 'hidden layers'
plot for [s in '"mlp 1 thread" "mlp 2 threads"'] data using (panel('depth', s)):4 title s

set title 'training step against sequence length'
set xlabel 'steps'
plot for [s in '"rnn 1 thread" "rnn 2 threads" "transformer 1 thread" "transformer 2 threads"'] \
  data using (panel('sequence', s)):4 title s

set title 'memory against depth'
set xlabel 'hidden layers'
set ylabel 'MiB'
plot for [s in '"kept by the tape" "resident"'] data using (panel('memory', s)):4 title s
unset multiplot
