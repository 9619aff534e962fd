set terminal svg size 720,400 dynamic font 'sans-serif,14'
set linetype 1 linecolor rgb '#0072b2' linewidth 2 pointtype 7 pointsize 0.6
set linetype 2 linecolor rgb '#d55e00' linewidth 2 pointtype 5 pointsize 0.6
set linetype 3 linecolor rgb '#6e6e6e' linewidth 2 pointtype 6 pointsize 0.6
set linetype 4 linecolor rgb '#009e73' linewidth 2 pointtype 7 pointsize 0.6
set linetype 5 linecolor rgb '#cc79a7' linewidth 2 pointtype 8 pointsize 0.6
set linetype 6 linecolor rgb '#e69f00' linewidth 2 pointtype 9 pointsize 0.6
set linetype cycle 6
set border 3 linewidth 1
set tics nomirror
set grid ytics
set key above
set bars small
set logscale x 2
set xlabel 'samples a statistic'
set ylabel 'ratio'
$d1 << END
1 1 "a & b <i> 1"
4 1.5 "it's 1"
END
$d2 << END
1 2 "a & b <i> 2"
4 2.5 "it's 2"
END
$d3 << END
1 3 "a & b <i> 3"
4 3.5 "it's 3"
END
$d4 << END
1 4 "a & b <i> 4"
4 4.5 "it's 4"
END
$d5 << END
1 5 "a & b <i> 5"
4 5.5 "it's 5"
END
$d6 << END
1 6 "a & b <i> 6"
4 6.5 "it's 6"
END
plot $d1 using 1:2 with lines lt 1 title 'line 1', $d1 using 1:2:3 with labels hypertext point pt 7 ps .6 lt 1 notitle, $d2 using 1:2 with lines lt 2 title 'line 2', $d2 using 1:2:3 with labels hypertext point pt 7 ps .6 lt 2 notitle, $d3 using 1:2 with lines lt 3 title 'line 3', $d3 using 1:2:3 with labels hypertext point pt 7 ps .6 lt 3 notitle, $d4 using 1:2 with lines lt 4 title 'line 4', $d4 using 1:2:3 with labels hypertext point pt 7 ps .6 lt 4 notitle, $d5 using 1:2 with lines lt 5 title 'line 5', $d5 using 1:2:3 with labels hypertext point pt 7 ps .6 lt 5 notitle, $d6 using 1:2 with lines lt 6 title 'line 6', $d6 using 1:2:3 with labels hypertext point pt 7 ps .6 lt 6 notitle
