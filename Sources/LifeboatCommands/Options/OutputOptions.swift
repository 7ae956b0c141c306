// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// How a command prints; every command takes these.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON lines instead of text (see docs/json.md).")
    var json = false

    @Flag(name: [.short, .long], help: "Print problems only.")
    var quiet = false

    var style: OutputStyle { OutputStyle(json: json, quiet: quiet) }
}

/// How results and problems are printed.
struct OutputStyle: Sendable, Equatable {
    var json = false
    var quiet = false

    init(json: Bool, quiet: Bool) {
        self.json = json
        self.quiet = quiet
    }

    /// What a command line asks for that could not be parsed.
    init(guessing arguments: [String]) {
        json = arguments.prefix { $0 != "--" }.contains("--json")
    }
}
