// SPDX-License-Identifier: Apache-2.0

/// The style of a drill's page: light, dark and print, with the fonts of the reader.
enum DrillPageStyle {
    static let text = """
        :root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #d9dee5; --paper: #ffffff;
          --tile: #f4f6f9; --good: #1a7f4b; --warn: #a15c00; --bad: #b3261e; --bar: #2f6fb5; --part: #9dbfe3;
          --extra: #b9c0ca; }
        @media (prefers-color-scheme: dark) {
          :root { --ink: #e6eaf0; --soft: #9aa6b5; --line: #333d4a; --paper: #12171e; --tile: #1b222c;
            --good: #5cc98f; --warn: #e5a445; --bad: #ff8a80; --bar: #6aa8ec; --part: #37577c; --extra: #56606d; }
        }
        * { box-sizing: border-box; }
        body { margin: 0; background: var(--paper); color: var(--ink);
          font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
        main { max-width: 62rem; margin: 0 auto; padding: 1.5rem; }
        header { border-left: .5rem solid; padding: .25rem 0 .25rem 1rem; }
        header h1 { font-size: 2rem; line-height: 1.2; margin: 0; }
        header p { margin: .3rem 0; color: var(--ink); }
        header.good, .tag.good { border-color: var(--good); color: var(--good); }
        header.warn, .tag.warn { border-color: var(--warn); color: var(--warn); }
        header.bad, .tag.bad { border-color: var(--bad); color: var(--bad); }
        header .facts, .detail, .legend { color: var(--soft); font-size: .87rem; }
        header .eyebrow, .eyebrow { color: var(--soft); font-size: .8rem; letter-spacing: .04em; margin: 0;
          text-transform: uppercase; }
        h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; border-bottom: 1px solid var(--line); padding-bottom: .25rem; }
        h3 { font-size: 1rem; margin: 1.2rem 0 .2rem; }
        .tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .75rem;
          margin-top: 1.25rem; }
        .tile { background: var(--tile); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem .9rem; }
        .tile .value { font-size: 1.5rem; font-weight: 600; margin: .1rem 0; }
        .tile .detail { margin: .25rem 0 0; }
        .bar { height: .4rem; border-radius: .2rem; background: var(--line); overflow: hidden; }
        .bar span { display: block; height: 100%; background: var(--good); }
        .bar.over span { background: var(--bad); }
        table { border-collapse: collapse; width: 100%; font-size: .87rem; margin: .4rem 0 .8rem; }
        th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
          vertical-align: top; font-weight: 400; overflow-wrap: anywhere; }
        thead th { color: var(--soft); font-weight: 600; }
        td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
        .tag { border: 1px solid var(--line); border-radius: .8rem; padding: 0 .5rem; font-size: .78rem;
          font-weight: 600; white-space: nowrap; }
        .hint { color: var(--soft); margin: .2rem 0; }
        .findings li { margin-bottom: .5rem; }
        pre { background: var(--tile); border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem;
          white-space: pre-wrap; overflow-wrap: anywhere; }
        svg { display: block; width: 100%; height: auto; }
        svg text { fill: var(--ink); font-size: 12px; }
        svg .axis, svg .value { fill: var(--soft); font-size: 11px; }
        svg .part-name { fill: var(--soft); }
        svg .grid { stroke: var(--line); stroke-width: 1; }
        svg .recovery { fill: var(--bar); } svg .part { fill: var(--part); } svg .extra { fill: var(--extra); }
        svg .objective { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 6 4; }
        svg .objective-text { fill: var(--bad); font-size: 11px; }
        svg .trend { fill: none; stroke: var(--bar); stroke-width: 1.5; }
        svg .good { fill: var(--good); } svg .bad { fill: var(--bad); }
        svg .cross { stroke: var(--bad); stroke-width: 2.5; }
        .key { display: inline-block; width: .9rem; height: .7rem; border-radius: .15rem; margin: 0 .3rem 0 .8rem; }
        .key.recovery { background: var(--bar); } .key.part { background: var(--part); }
        .key.extra { background: var(--extra); }
        @media print {
          :root { color-scheme: light; --ink: #000; --soft: #444; --line: #bbb; --paper: #fff; --tile: #fff;
            --good: #14663c; --warn: #7d4700; --bad: #8f1d17; --bar: #2f6fb5; --part: #9dbfe3; --extra: #b9c0ca; }
          * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
          body { font-size: 10.5pt; }
          main { max-width: none; padding: 0; }
          .tiles { grid-template-columns: repeat(4, 1fr); }
          svg, tr, .tile, .findings li { break-inside: avoid; }
          h2, h3 { break-after: avoid; }
        }

        """
}
