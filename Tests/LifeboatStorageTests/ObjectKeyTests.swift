// SPDX-License-Identifier: Apache-2.0

import LifeboatStorage
import Testing

@Suite struct ObjectKeyTests {
    @Test(arguments: [
        "a", "README.txt", "packs/ab/ab34.tar.zst", "snapshots/semantik/20261121T020000Z-1f2e.json.minisig", "...",
        "..a", "a..", ".hidden", "-", "a/b/c/d/e/f", "A_b-c+d@e=f,g.h",
    ])
    func namesOfAFormatAreKeys(text: String) throws {
        let key = try #require(ObjectKey(text))
        #expect(key.text == text)
        #expect("\(key)" == text)
    }

    @Test(arguments: [
        "", "/", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/./b", "../a", "a/..", "a/../b", "../../etc/passwd",
        "/etc/passwd", "a\0b", "a\nb", "a b", "a\\b", "C:a", "é", "e\u{301}", "\u{202E}a", "a%2fb", "~", "a*", "a?b",
        "\u{FF0E}\u{FF0E}", "a\u{2215}b", "a'b", "a\"b", "a;b", "a&b", "$a", "a:b", "a|b", "<a", "(a)", "[a]", "{a}",
        "a#b", "!a", "^", "`a`", "\u{7F}",
    ])
    func hostileNamesAreNot(text: String) {
        #expect(ObjectKey(text) == nil)
    }

    @Test func lengthEndsAt1024Bytes() {
        #expect(ObjectKey(String(repeating: "a", count: 1024)) != nil)
        #expect(ObjectKey(String(repeating: "a", count: 1025)) == nil)
    }

    @Test func orderIsBytewise() throws {
        let texts = ["A", "Z", "_", "a", "a+", "a-", "a.b", "a/b", "a0", "aa", "b"]
        let keys = try texts.map { try #require(ObjectKey($0)) }
        #expect(keys.shuffled().sorted() == keys)
    }
}
