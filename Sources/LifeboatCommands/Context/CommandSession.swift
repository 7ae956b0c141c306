// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRepository

/// One run of one command: the context, and the only place that prints. Used on the command's thread; `progress` from
/// any.
final class CommandSession {
    let context: CommandContext
    let progress: ProgressPrinter
    private let options: OutputStyle
    /// Standard output carries data (`cat`, `export --output -`): messages go to standard error.
    private let dataOnOutput: Bool
    private let results: ResultWriter
    private var endings: [() -> Void] = []
    /// Exit code of the first problem that was printed.
    private var firstProblem: ExitCode?
    /// What a command ends with that would have ended with 0.
    private var floor = ExitCode.done

    /// `stopsWhenClosed`: a listing, which ends when nobody reads it any more.
    init(
        _ context: CommandContext, _ options: OutputStyle, dataOnOutput: Bool = false, stopsWhenClosed: Bool = false
    ) {
        self.context = context
        self.options = options
        self.dataOnOutput = dataOnOutput
        let messages = dataOnOutput ? context.output.error : context.output.standard
        results = ResultWriter(messages, stopsWhenClosed: stopsWhenClosed)
        let style: ProgressRenderer.Style =
            options.quiet
            ? .quiet
            : options.json
                ? .json
                : context.terminal.errorIsTerminal ? .terminal(columns: context.terminal.columns) : .lines
        progress = ProgressPrinter(
            style: style, printsJSON: options.json, clock: context.clock, stream: context.output.error,
            jsonStream: messages)
    }

    var cancellation: Cancellation { context.cancellation }
    var printsJSON: Bool { options.json }
    var isQuiet: Bool { options.quiet }

    /// Prints a result: a JSON line, or its text.
    func emit(_ result: some OutputRendering) throws {
        if options.json {
            try results.write(JSONLine.encode(result) + [0x0A])
        } else {
            let text = result.text
            if !text.isEmpty { try results.write(text + "\n") }
        }
    }

    /// Prints the closing report of an operation; nothing with `--quiet`.
    func emitReport(_ result: some OutputRendering) throws {
        progress.finish()
        if !options.quiet { try emit(result) }
    }

    /// Prints rows below their titles, or a JSON line each. Without rows the text is `whenEmpty`.
    func emitTable<Row: TableRow>(_ rows: [Row], whenEmpty: String) throws {
        if options.json {
            for row in rows { try emit(row) }
        } else if rows.isEmpty {
            note(whenEmpty)
        } else {
            try results.write(TextTable.render(Row.columns, rows.map(\.cells)))
        }
    }

    /// A remark for the person at the terminal, on standard error.
    func note(_ text: String) {
        guard !options.json, !options.quiet else { return }
        printError("\(EscapedName.line(text))\n")
    }

    /// A problem that does not end the command.
    func warn(_ warning: LifeboatError) { progress.report(.warning(warning)) }

    /// A problem that leaves the exit code alone and yet must be seen: `--quiet` prints it too.
    func warnAlways(_ warning: LifeboatError) throws {
        guard isQuiet else { return warn(warning) }
        progress.finish()
        if options.json {
            try results.write(JSONLine.encode(warning: warning) + [0x0A])
        } else {
            // After what was found before, also when nobody reads that any more.
            defer { printError(ErrorText.render(warning, severity: "warning") + "\n") }
            try results.flush()
        }
    }

    /// A problem that leaves the work of the command alone, is printed with `--quiet` too, and has the command end with
    /// 3 (`incomplete`) where it would have ended with 0.
    func caution(_ warning: LifeboatError) throws {
        floor = .incomplete
        try warnAlways(warning)
    }

    /// The exit code of a command that came to an end with `code`.
    func verdict(_ code: ExitCode) -> ExitCode { code == .done ? floor : code }

    /// The exit code of a listing that nobody reads any more: of what was found until then.
    var verdictSoFar: ExitCode { verdict(firstProblem ?? .done) }

    /// A problem that ends the command with a code other than 0, sooner or later.
    func problem(_ problem: LifeboatError) throws {
        if firstProblem == nil { firstProblem = problem.exitCode }
        progress.finish()
        if options.json {
            try results.write(JSONLine.encode(error: problem) + [0x0A])
        } else {
            // After what was found before, also when nobody reads that any more.
            defer { printError(ErrorText.render(problem) + "\n") }
            try results.flush()
        }
    }

    /// Has `body` run when the command has ended, however it ends.
    func atEnd(_ body: @escaping () -> Void) { endings.append(body) }

    /// Runs what `atEnd` was given, last first.
    func end() {
        while let body = endings.popLast() { body() }
    }

    /// Writes what is buffered; the last thing a command does.
    func flush() throws {
        progress.finish()
        try results.flush()
    }

    /// Whether there is a person to ask.
    var canAsk: Bool { context.terminal.inputIsTerminal && context.terminal.errorIsTerminal }

    /// Asks a question on the terminal and reads a line; empty at the end of the input.
    func ask(_ question: String) throws -> String {
        progress.finish()
        printError(question)
        return try context.input.readLine(echo: true, cancellation) ?? ""
    }

    /// Asks for a new passphrase, twice, without showing what is typed.
    func askPassphrase(_ question: String) throws -> Secret {
        progress.finish()
        var answers: [String] = []
        for text in [question, "again: "] {
            printError(text)
            answers.append(try context.input.readLine(echo: false, cancellation) ?? "")
            printError("\n")
        }
        guard !answers[0].isEmpty else {
            throw LifeboatError("an empty passphrase protects nothing", hint: "Nothing was created.", exitCode: .usage)
        }
        guard answers[0] == answers[1] else {
            throw LifeboatError("the two passphrases differ", hint: "Nothing was created. Try again.", exitCode: .usage)
        }
        return Secret(answers[0])
    }

    /// Standard error is the last resort: when it is gone there is nobody left to tell.
    private func printError(_ text: String) {
        do { try context.output.error.write(text) } catch { return }
    }
}

extension CommandSession {
    /// Reads chunks for a command that gives back data. Damaged indexes are reported and left out. `cacheLimit`: bytes of
    /// decoded frames that are kept.
    func reader(_ repository: Repository, cacheLimit: Int = ChunkReader.usualCacheLimit) throws -> ChunkReader {
        ChunkReader(
            repository, try repository.openIndexes(passingOverDamage: true), cacheLimit: cacheLimit,
            reportingTo: progress)
    }
}
