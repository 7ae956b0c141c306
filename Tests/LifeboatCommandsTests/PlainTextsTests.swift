// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatCore
import Testing

struct PlainTextsTests {
    @Test(arguments: [
        (0.0, "0.0 s"), (0.44, "0.4 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (60, "1 min"),
        (200, "3 min 20 s"), (3600, "1 h"), (7500, "2 h 5 min"), (86_400, "1 d"), (273_600, "3 d 4 h"),
        (-1, "?"), (.infinity, "?"), (.nan, "?"),
    ])
    func lengthsOfTime(seconds: Double, expected: String) { #expect(DurationText.short(seconds) == expected) }

    @Test(arguments: [(0.0, "0:00"), (7.9, "0:07"), (754, "12:34"), (3723, "1:02:03"), (-5, "0:00")])
    func clocks(seconds: Double, expected: String) { #expect(DurationText.clock(seconds) == expected) }

    @Test func numbersAreGrouped() {
        #expect(grouped(0) == "0")
        #expect(grouped(999) == "999")
        #expect(grouped(1000) == "1,000")
        #expect(grouped(-1_234_567) == "-1,234,567")
        #expect(grouped(UInt64.max) == "18,446,744,073,709,551,615")
        #expect(counted(1, "file") == "1 file")
        #expect(counted(2, "index", plural: "indexes") == "2 indexes")
    }

    @Test func timesAreUTC() {
        #expect(
            Timestamp(year: 2026, month: 3, day: 4, hour: 5, minute: 6, second: 7).tableText == "2026-03-04 05:06:07")
    }

    @Test func tablesAlignTheirColumns() {
        let columns = [TableColumn("NAME"), TableColumn("SIZE", alignsRight: true), TableColumn("NOTE")]
        let text = TextTable.render(columns, [["a", "1", "x"], ["日本語", "12345", ""]])
        #expect(text == "NAME     SIZE  NOTE\na           1  x\n日本語  12345\n")
        #expect(TextTable.fields([("a", "1"), ("long", "2")]) == "a:    1\nlong: 2")
    }

    @Test func errorsCannotImitateOthers() {
        let error = LifeboatError(
            "cannot read '\u{1B}[2Jx\nerror: no'", causes: ["line one\nhint: evil"], hint: "Do it.")
        #expect(
            ErrorText.render(error) == """
                error: cannot read '\\033[2Jx\\012error: no'
                cause: line one
                  hint: evil
                hint: Do it.
                """)
        #expect(ErrorText.render(LifeboatError("w"), severity: "warning") == "warning: w")
    }
}
