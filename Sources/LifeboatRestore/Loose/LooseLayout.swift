// SPDX-License-Identifier: Apache-2.0

package import LifeboatCore
package import LifeboatRepository

/// Where a loose restore puts what: a volume at its backed-up path below the chosen folder, streams of a component as
/// files in a folder of its name. Pure.
package struct LooseLayout: Sendable, Equatable {
    package struct Item: Sendable, Equatable {
        package var component: String
        package var part: Manifest.Part
        /// The folder (of a tree, its root; of a stream, the one the file is in).
        package var folder: String
        /// Name of the file of a stream; nil for a tree.
        package var file: String?

        /// What comes into being.
        package var path: String { file.map { "\(folder)/\($0)" } ?? folder }
    }

    package var items: [Item]

    /// `folder` is absolute or relative to the working folder, without a slash at its end.
    package init(_ components: [Manifest.Component], below folder: String) throws(LifeboatError) {
        var items: [Item] = []
        for component in components {
            let streams = component.parts.filter { $0.kind == .stream }
            let trees = component.parts.filter { $0.kind == .tree }
            for tree in trees {
                var place = try Self.place(of: component)
                // One tree is the volume itself; of several each gets a folder below.
                if trees.count > 1 { place += "/\(try Self.name(tree.name))" }
                items.append(Item(component: component.name, part: tree, folder: "\(folder)/\(place)"))
            }
            for stream in streams {
                items.append(
                    Item(
                        component: component.name, part: stream, folder: "\(folder)/\(try Self.name(component.name))",
                        file: try Self.fileName(of: stream, in: component)))
            }
        }
        try Self.checkApart(items)
        self.items = items
    }

    /// The backed-up path without its leading slash. A manifest is data: it does not choose a place outside.
    private static func place(of component: Manifest.Component) throws(LifeboatError) -> String {
        guard component.source.hasPrefix("/") else { return try name(component.name) }
        let names = component.source.split(separator: "/").map(String.init)
        for name in names { _ = try Self.name(name) }
        // The volume was `/` itself: its content goes straight below the folder.
        return names.isEmpty ? "." : names.joined(separator: "/")
    }

    /// Names of dumps as their tools expect them.
    private static func fileName(
        of stream: Manifest.Part, in component: Manifest.Component
    ) throws(LifeboatError) -> String {
        switch (component.store, stream.name) {
        case ("postgres", "dump"): "dump.pgdump"
        case ("postgres", "globals"): "globals.sql"
        // One of several databases.
        case ("postgres", let part) where part.hasSuffix(".dump"): try name("\(part.dropLast(5)).pgdump")
        case ("sqlite", "database"): try name(component.source.split(separator: "/").last.map(String.init) ?? "")
        default: try name(stream.name)
        }
    }

    private static func name(_ name: String) throws(LifeboatError) -> String {
        guard !name.isEmpty, name != ".", name != "..", !name.utf8.contains(0), !name.utf8.contains(0x2F),
            name.utf8.count <= 255
        else {
            throw LifeboatError("the snapshot names '\(name)', which cannot be a file", exitCode: .damagedRepository)
        }
        return name
    }

    /// No two parts write to one place, and no volume into another.
    private static func checkApart(_ items: [Item]) throws(LifeboatError) {
        for (position, item) in items.enumerated() {
            for other in items[..<position] {
                guard item.path == other.path || isInside(item, other) || isInside(other, item) else { continue }
                throw LifeboatError(
                    "components '\(other.component)' and '\(item.component)' would be restored into one another",
                    causes: ["both write to '\(item.path.count > other.path.count ? item.path : other.path)'"],
                    hint: "Restore them one at a time with --component, each to a folder of its own.",
                    exitCode: .usage)
            }
        }
    }

    /// Whether what `item` makes is inside the tree `other`.
    private static func isInside(_ item: Item, _ other: Item) -> Bool {
        other.file == nil && (item.path.hasPrefix("\(other.path)/") || other.folder.hasSuffix("/."))
    }
}
