// SPDX-License-Identifier: Apache-2.0

import LifeboatCommands
import LifeboatTesting
import Testing

struct EscapedNameTests {
    @Test(arguments: [
        ("plain.txt", "plain.txt"), ("a b", "a b"), ("tab\there", "tab\\011here"), ("new\nline", "new\\012line"),
        ("back\\slash", "back\\\\slash"), ("\u{1B}[31mred", "\\033[31mred"), ("größe", "größe"), ("日本", "日本"),
        ("\u{85}c1", "\\302\\205c1"), ("\u{202E}gpj.exe", "\\342\\200\\256gpj.exe"), ("del\u{7F}", "del\\177"),
        ("", ""),
    ])
    func namesAreSafeForATerminal(name: String, expected: String) {
        #expect(EscapedName.text(name.utf8) == expected)
    }

    @Test func invalidUTF8IsEscapedByteByByte() {
        #expect(EscapedName.text([0x61, 0xFF, 0xC3, 0x28, 0xE2, 0x82]) == "a\\377\\303(\\342\\202")
        // A surrogate and an overlong form are no UTF-8 either.
        #expect(EscapedName.text([0xED, 0xA0, 0x80]) == "\\355\\240\\200")
        #expect(EscapedName.text([0xC0, 0xAF]) == "\\300\\257")
    }

    @Test func everyNameComesBackFromItsEscapedForm() {
        var generator = SplitMix64(seed: 7)
        for _ in 0..<2000 {
            let name = generator.bytes(Int(generator.next() % 40))
            let text = EscapedName.text(name)
            #expect(EscapedName.bytes(text) == name)
            #expect(text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F })
        }
    }

    @Test(arguments: ["\\", "\\1", "\\18", "\\999", "\\400", "a\\x41"])
    func whatNobodyEscapedIsNotTaken(text: String) {
        #expect(EscapedName.bytes(text) == nil)
    }

    @Test func messagesKeepTheirBackslashes() {
        #expect(EscapedName.line("C:\\temp") == "C:\\temp")
        #expect(EscapedName.line("a\nerror: fake") == "a\\012error: fake")
    }

    @Test func columnsCountWideAndCombiningCharacters() {
        #expect("abc".columnWidth == 3)
        #expect("日本".columnWidth == 4)
        #expect("e\u{301}".columnWidth == 1)
        #expect("/srv/日本/file".keepingEnd(columns: 8) == "…本/file")
        #expect("abcdef".keepingStart(columns: 4) == "abc…")
        #expect("abcdef".keepingStart(columns: 6) == "abcdef")
        #expect("abcdef".keepingEnd(columns: 1) == "…")
    }
}
