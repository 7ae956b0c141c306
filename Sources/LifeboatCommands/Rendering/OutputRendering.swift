// SPDX-License-Identifier: Apache-2.0

/// A result as a value: what `--json` prints, and how it looks to people.
///
/// Keys of the JSON are snake case and only ever added (docs/json.md).
package protocol OutputRendering: Encodable, Sendable {
    /// `message_type` of the line: `summary`, `snapshot`, `entry` …
    static var messageType: String { get }
    /// For people: lines without the last newline; empty when there is nothing to print.
    var text: String { get }
}

/// A result that is one row of a table.
package protocol TableRow: OutputRendering {
    static var columns: [TableColumn] { get }
    var cells: [String] { get }
}

extension TableRow {
    package var text: String { cells.joined(separator: "  ") }
}

package struct TableColumn: Sendable, Equatable {
    package var title: String
    /// Numbers line up at their last digit.
    package var alignsRight: Bool

    package init(_ title: String, alignsRight: Bool = false) {
        self.title = title
        self.alignsRight = alignsRight
    }
}

/// Rows below their titles, columns as wide as their widest cell, two spaces between them.
package enum TextTable {
    /// Lines with a newline each; the last column is not padded.
    package static func render(_ columns: [TableColumn], _ rows: [[String]]) -> String {
        var widths = columns.map(\.title.columnWidth)
        for row in rows {
            for (number, cell) in row.enumerated() where number < widths.count {
                widths[number] = max(widths[number], cell.columnWidth)
            }
        }
        var text = ""
        for row in [columns.map(\.title)] + rows {
            var line = ""
            for (number, cell) in row.enumerated() where number < widths.count {
                if number > 0 { line += "  " }
                let padding = String(repeating: " ", count: widths[number] - cell.columnWidth)
                let isLast = number == widths.count - 1
                line += columns[number].alignsRight ? padding + cell : isLast ? cell : cell + padding
            }
            while line.last == " " { line.removeLast() }
            text += line + "\n"
        }
        return text
    }

    /// `name:   value` lines with the values below each other; without the last newline.
    package static func fields(_ fields: [(name: String, value: String)]) -> String {
        let width = fields.map(\.name.columnWidth).max() ?? 0
        return fields.map { field in
            let padding = String(repeating: " ", count: width - field.name.columnWidth)
            return "\(field.name):\(padding) \(field.value)"
        }.joined(separator: "\n")
    }
}
