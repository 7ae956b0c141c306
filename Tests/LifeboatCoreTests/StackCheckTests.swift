// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import Testing

struct StackCheckTests {
    @Test func `rules hold for what they say`() {
        #expect(CheckRule.equal.holds([3, 3, 3]) && !CheckRule.equal.holds([3, 3, 4]))
        #expect(CheckRule.atLeast.holds([3, 2, 2]) && !CheckRule.atLeast.holds([2, 3]))
        #expect(CheckRule.within(percent: 10).holds([100, 90]) && !CheckRule.within(percent: 10).holds([100, 89]))
        #expect(CheckRule.within(percent: 0).holds([0, 0]) && CheckRule.within(percent: 10).holds([-100, -90]))
        #expect(!CheckRule.equal.holds([.nan, .nan]) && !CheckRule.equal.holds([]))
        #expect(!CheckRule.within(percent: 100).holds([.infinity, .infinity]))
    }

    @Test func `a value without an answer is told and never holds`() {
        let check = StackCheck(
            name: "c", rule: .within(percent: 100), values: [.component("db", .sql("select 1")), .number(2.5)])
        let result = check.result { value in
            if case .number(let number) = value { return .success(number) }
            return .failure(LifeboatError("the query failed", causes: ["no such table"]))
        }
        #expect(!result.holds && result.percent == 100 && result.rule == "within")
        #expect(
            result.explanation == "sql of 'db' has no answer: the query failed: no such table, 2.5")
        #expect(result.requirement == "they must be within 100 %")
    }
}
