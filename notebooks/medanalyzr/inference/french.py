"""What the panel says of a report or file that it cannot answer, in French; everywhere else these sentences are English."""

import re

_FRENCH = {
    # files, by inference.report_files and dataset.files
    "{name} is in none of the supported formats ({formats}).": "Format non reconnu (formats lus : {formats}).",
    "{name} cannot be read: {error}.": "Lecture impossible : {error}.",
    "{size} MiB of text, more than a report can have (1 MiB)": "Texte de {size} Mio, trop long pour un compte rendu (1 Mio au plus).",
    "not valid JSON ({detail})": "JSON non valide.",
    "no text in a column 'input' or 'report'": "Aucun texte dans une colonne «input» ou «report».",
    "the file is empty": "le fichier est vide",
    "line {line} is not UTF-8 text; save the file as UTF-8": "la ligne {line} n'est pas en UTF-8 ; enregistrez le fichier en UTF-8",
    "the column {column} occurs twice; rename or remove one": "la colonne {column} figure deux fois ; renommez ou supprimez l'une d'elles",
    "it contains null characters, so it is not a text table": "il contient des caractères nuls : ce n'est pas un tableau de texte",
    "row {row} has {cells} cells and the header has {columns}; quote texts that hold separators": (
        "la ligne {row} a {cells} cellules pour {columns} colonnes ; mettez entre guillemets les textes qui contiennent le séparateur"
    ),
    "line {line}: {detail}": "la ligne {line} n'est pas du CSV valide",
    # the length, by inference.generation
    "The report is too long: {count} characters, and at most {most} tokens leave room for the answer.": (
        "Compte rendu trop long : au-delà de {most} tokens, il ne reste pas de place pour la réponse."
    ),
    "The report is too long: it has {count} tokens with its prompt, and at most {most} leave room for the answer.": (
        "Compte rendu trop long : {count} tokens avec la consigne ; au-delà de {most}, il ne reste pas de place pour la réponse."
    ),
    # whole documents, by lab.formats
    "The file has {size} MiB, more than a report can have ({most} MiB).": (
        "Fichier de {size} Mio, trop gros pour un compte rendu ({most} Mio au plus)."
    ),
    "The file holds no report: it ends before the first patient; ask the sender for it again.": (
        "Aucun compte rendu : le fichier s'arrête avant le premier patient ; demandez un nouvel envoi."
    ),
    "The CR-BIO document names several patients: ask the laboratory for one document per patient.": (
        "Le document CR-BIO concerne plusieurs patients : demandez au laboratoire un document par patient."
    ),
    "The XML document declares a document type or entities, which a CR-BIO report never does.": (
        "Le document XML déclare un type de document ou des entités, ce que ne fait jamais un CR-BIO."
    ),
    "The file is not valid XML ({detail}).": "XML non valide.",
    "The XML document is not a CR-BIO report: it has no HL7 ClinicalDocument.": (
        "Ce document XML n'est pas un CR-BIO : il ne contient pas de ClinicalDocument HL7."
    ),
    "The FHIR file is not valid JSON ({detail}): ask the sender for it again.": "Fichier FHIR : JSON non valide ; demandez un nouvel envoi.",
    "The JSON file is not a FHIR resource: it has no resourceType.": (
        "Ce fichier JSON n'est pas une ressource FHIR : il n'a pas de resourceType."
    ),
    # doubts about a result or report, by lab/tables/format_errors.csv
    "The file ends within a report: ask the laboratory to send it again.": (
        "Le fichier s'arrête au milieu d'un compte rendu : demandez un nouvel envoi au laboratoire."
    ),
    "{name}: the line is cut; the result was not read.": "{name} : ligne tronquée, résultat non lu.",
    "The letters of the file come from an encoding that is not usual ({name}): check the names.": (
        "Codage de caractères inhabituel ({name}) : vérifiez les libellés."
    ),
    "A date has a year of two digits: check the age.": "Une date a une année sur deux chiffres : vérifiez l'âge.",
    "The birth date is not complete: the age is not known.": "Date de naissance incomplète : âge inconnu.",
    "The results stand in the text alone: they were read from there.": "Résultats présents dans le seul texte : ils y ont été lus.",
    "The report holds no result.": "Le compte rendu ne contient aucun résultat.",
    "{name}: no value that can be read was given.": "{name} : aucune valeur lisible.",
    "{name}: the value has no unit.": "{name} : valeur sans unité.",
    "{name}: the sender gives two units; that of the code was taken.": "{name} : deux unités transmises ; celle du code a été retenue.",
    "{name}: code and name speak of two analytes; the result was taken for neither.": (
        "{name} : le code et le libellé désignent deux analyses différentes ; résultat attribué à aucune."
    ),
    "{name}: a number was sent as text or words as a number; check the value.": (
        "{name} : nombre transmis comme texte, ou texte comme nombre ; vérifiez la valeur."
    ),
    "{name}: the laboratory cancelled it; there is no result.": "{name} : analyse annulée par le laboratoire, sans résultat.",
    "{name}: the result is still to come.": "{name} : résultat en attente.",
    "{name}: the result is preliminary.": "{name} : résultat provisoire.",
    "{name}: the result was corrected; the first one does not count.": "{name} : résultat rectifié ; le premier est annulé.",
    "{name}: the laboratory withdrew it as entered in error.": "{name} : résultat retiré par le laboratoire (erreur de saisie).",
    "{name}: the laboratory withdrew it as wrong.": "{name} : résultat retiré par le laboratoire (erroné).",
    "{name}: a previous result was sent too; it is none of today.": "{name} : un résultat antérieur est joint ; il n'est pas du jour.",
    "The file refers to {name} and does not hold it.": "Le fichier renvoie à {name}, qu'il ne contient pas.",
    "The report is not final: more results may come.": "Compte rendu non définitif : d'autres résultats peuvent suivre.",
    "{name}: the laboratory's flag is not what value and interval say.": (
        "{name} : l'indicateur du laboratoire contredit la valeur et l'intervalle."
    ),
    "{name}: both bounds of the interval are the same number; the interval was not read.": (
        "{name} : les deux bornes de l'intervalle sont identiques ; intervalle non lu."
    ),
    "{name}: the low bound of the interval is above the high one; the interval was not read.": (
        "{name} : la borne basse de l'intervalle dépasse la borne haute ; intervalle non lu."
    ),
    "The document holds a PDF and no results that can be read: open the PDF.": (
        "Le document contient un PDF, sans résultat lisible : ouvrez le PDF."
    ),
    "The laboratory remarks: {name}": "Remarque du laboratoire : {name}",
}
_PATTERNS = {
    re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(english)), re.DOTALL): french for english, french in _FRENCH.items()
}
UNEXPECTED = "Erreur du programme : "


def in_french(sentence: str) -> str:
    """A sentence of this package in French; one that no rule knows, such as an error of torch, as it is after `UNEXPECTED`."""
    for pattern, french in _PATTERNS.items():
        if found := pattern.fullmatch(sentence):
            parts = found.groupdict()
            return french.format(**parts | ({"error": in_french(parts["error"])} if "error" in parts else {}))
    return UNEXPECTED + sentence
