// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// How a command prints; every command takes these.
struct OutputOptions: ParsableArguments {
    @Flag(name: .long, help: "Print JSON lines instead of text (see docs/json.md).")
    var json = false

    @Flag(name: [.short, .long], help: "Print problems only.")
    var quiet = false
}
