// SPDX-License-Identifier: Apache-2.0

/// A question about the content of one store whose answer is a number.
package enum CheckQuestion: Sendable, Hashable {
    /// A query that gives one row; its first column is the number.
    case sql(String)
    /// Points of a collection of vectors.
    case points(String)
    /// Keys of a database of Redis.
    case keys(Int)
    /// Regular files whose name or path fits a pattern.
    case files(String)
}

/// One number a check compares.
package enum CheckValue: Sendable, Hashable {
    case number(Double)
    case component(String, CheckQuestion)
    /// A number in the JSON answer to a GET; `field` is its path.
    case http(url: String, field: String)

    /// For people: `sql of 'database'`. A query itself may be long; the policy has it.
    package var text: String {
        switch self {
        case .number(let number): CheckRule.shown(number)
        case .component(let name, .sql): "sql of '\(name)'"
        case .component(let name, .points(let collection)): "points of '\(collection)' in '\(name)'"
        case .component(let name, .keys(let database)): "keys of database \(database) in '\(name)'"
        case .component(let name, .files(let pattern)): "files '\(pattern)' in '\(name)'"
        case .http(let url, let field): "'\(field)' of \(url)"
        }
    }

    /// The component it asks.
    package var component: String? {
        guard case .component(let name, _) = self else { return nil }
        return name
    }
}

/// What must hold between the values of a check.
package enum CheckRule: Sendable, Equatable {
    /// All are the same number.
    case equal
    /// None is less than the one after it.
    case atLeast
    /// The largest and the smallest differ by no more than so many percent of the largest.
    case within(percent: Double)

    /// The policy's word.
    package var word: String {
        switch self {
        case .equal: "equal"
        case .atLeast: "at_least"
        case .within: "within"
        }
    }

    package func holds(_ numbers: [Double]) -> Bool {
        guard numbers.allSatisfy(\.isFinite), let least = numbers.min(), let most = numbers.max() else { return false }
        switch self {
        case .equal: return least == most
        case .atLeast: return zip(numbers, numbers.dropFirst()).allSatisfy { $0 >= $1 }
        case .within(let percent): return most - least <= max(abs(most), abs(least)) * percent / 100
        }
    }

    /// A number without a needless fraction.
    package static func shown(_ number: Double) -> String {
        Int64(exactly: number).map { "\($0)" } ?? "\(number)"
    }
}

/// A check of the policy: numbers out of several stores that must agree.
package struct StackCheck: Sendable, Equatable {
    package var name: String
    package var rule: CheckRule
    /// At least two.
    package var values: [CheckValue]

    package init(name: String, rule: CheckRule, values: [CheckValue]) {
        self.name = name
        self.rule = rule
        self.values = values
    }

    /// The verdict; `answer` gives each value, or why there is none.
    package func result(_ answer: (CheckValue) -> Result<Double, LifeboatError>) -> CheckResult {
        let values = values.map { value in
            switch answer(value) {
            case .success(let number): CheckResult.Value(of: value.text, number: number, problem: nil)
            case .failure(let error):
                CheckResult.Value(
                    of: value.text, number: nil, problem: ([error.message] + error.causes).joined(separator: ": "))
            }
        }
        let numbers = values.compactMap(\.number)
        var percent: Double?
        if case .within(let given) = rule { percent = given }
        return CheckResult(
            name: name, rule: rule.word, percent: percent, values: values,
            holds: numbers.count == values.count && rule.holds(numbers))
    }
}

/// What a check found: kept in the manifest, compared by restores.
package struct CheckResult: Codable, Sendable, Equatable {
    package struct Value: Codable, Sendable, Equatable {
        /// What was asked, for people.
        package var of: String
        /// Nil: no answer, for the reason in `problem`.
        package var number: Double?
        package var problem: String?

        package init(of: String, number: Double?, problem: String?) {
            self.of = of
            self.number = number
            self.problem = problem
        }
    }

    package var name: String
    /// `equal`, `at_least`, `within`.
    package var rule: String
    package var percent: Double?
    package var values: [Value]
    package var holds: Bool

    package init(name: String, rule: String, percent: Double?, values: [Value], holds: Bool) {
        self.name = name
        self.rule = rule
        self.percent = percent
        self.values = values
        self.holds = holds
    }

    /// `sql of 'database' is 120, points of 'docs' in 'vectors' is 119`; a number of the policy stands by itself: `3000`.
    package var explanation: String {
        values.map { value in
            guard let number = value.number.map(CheckRule.shown) else {
                return "\(value.of) has no answer: \(value.problem ?? "unknown reason")"
            }
            return value.of == number ? number : "\(value.of) is \(number)"
        }.joined(separator: ", ")
    }

    /// What must hold, for people.
    package var requirement: String {
        switch (rule, percent) {
        case ("equal", _): "they must be equal"
        case ("at_least", _): "each must be at least the next"
        case ("within", let percent?): "they must be within \(CheckRule.shown(percent)) %"
        default: "they must be \(rule)"
        }
    }
}
