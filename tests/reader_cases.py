"""Invented reports with the reading that is due, for test_reader: a title, the patient, the report, a line per result.

A result is `analyte | value | unit | low | high`, with the unit of the interval behind the bounds where it is another and the specimen
(`urine`, `lcr`, `autre`) in front where it is not blood; `-` stands for an analyte that no table of ours knows. Units are those of the
tables. `?` in front of a result: it may be refused. What is printed and not listed must be refused.
"""

CASES = [
    ("points de conduite et antériorité en tête", "F", 41.0, """
LABORATOIRE DES TILLEULS                       Dossier 4411-20
Madame GARNIER Lucie   41 ans

                                        Résultat     Normales      Le 04/02/2040
Glucose à jeun . . . . . . . . . . .    0,98 g/L     0,70 - 1,10   1,02
Urée  . . . . . . . . . . . . . . . .   0,29 g/L     0,15 - 0,45   0,31
Créatinine  . . . . . . . . . . . . .   8,1 mg/L     5,7 - 11,1    7,9
""", "glucose|0,98|g/L|0.7|1.1", "uree|0,29|g/L|0.15|0.45", "creatinine|8,1|mg/L|5.7|11.1"),
    ("antériorités à gauche, dates seules", "H", 70.0, """
M. LEROY Paul - 70 ans          prélevé le 11/06/2041
Analyse               02/01/2041    08/03/2041    11/06/2041   Unité     Références
Kaliémie              4,2           4,9           6,9          mmol/L    3,5 - 5,0
Natrémie              139           137           128          mmol/L    136 - 145
Hémoglobine           13,4          12,0          9,1          g/dL      13,0 - 17,0
""", "potassium|6,9|mmol/L|3.5|5", "sodium|128|mmol/L|136|145", "hb|9,1|g/dL|13|17"),
    ("le résultat du jour manque", "H", 70.0, """
M. LEROY Paul - 70 ans
Analyse               Ce jour       08/03/2041    Unité     Références
Kaliémie                            6,9           mmol/L    3,5 - 5,0
Natrémie              138           128           mmol/L    136 - 145
""", "sodium|138|mmol/L|136|145"),
    ("millions d'hématies et espaces fines", "H", 33.0, """
Monsieur B., 33 ans
Hématies : 5\u202f120\u202f000 /mm³ (4\u202f500\u202f000 à 5\u202f900\u202f000)
Leucocytes : 3\u00a0100 /mm³ (4\u00a0000 à 10\u00a0000)
Plaquettes : 18 000 /µL (150 000 à 400 000)
Ferritine : 1 480 µg/L (30 - 400)
""", "hematies|5120000|/mm3|4500000|5900000", "leucocytes|3100|/mm3|4000|10000", "plaquettes|18000|/mm3|150000|400000",
     "ferritine|1480|µg/L|30|400"),
    ("colonnes serrées par un seul espace", None, None, """
PLAQUETTES 250 150 - 400 G/L
SODIUM 141 136 - 145 mmol/L
LEUCOCYTES 6.4 4.0 - 10.0 G/L
""", "?plaquettes|250|G/L|150|400", "?sodium|141|mmol/L|136|145", "?leucocytes|6,4|G/L|4|10"),
    ("pourcent avant, compte après, sans « soit »", "F", 29.0, """
Mme T. 29 ans
Formule leucocytaire             %        G/L       (G/L)
Polynucléaires neutrophiles    38,0 %   0,45 G/L   1,80 - 7,50
Lymphocytes                    50,0 %   0,60 G/L   1,00 - 4,00
Monocytes                      12,0 %   0,14 G/L   0,20 - 1,00
""", "pnn|0,45|G/L|1.8|7.5", "lymphocytes|0,60|G/L|1|4", "monocytes|0,14|G/L|0.2|1"),
    ("intervalle du pourcentage seul", "H", 50.0, """
Homme, 50 ans
Neutrophiles : 5,1 G/L soit 82 % (40 - 75 %)
Lymphocytes : 1,2 G/L soit 12 % (20 - 45)
"""),
    ("deux unités sur une ligne, un seul intervalle", "H", 44.0, """
M. D. 44 ans
Glycémie      1,62 g/L     8,99 mmol/L     3,9 - 6,1 mmol/L
Créatinine    14,2 mg/L    126 µmol/L      62 - 106
""", "?glucose|8,99|mmol/L|3.9|6.1", "?glucose|1,62|g/L|3.9|6.1 mmol/L", "?creatinine|126|µmol/L|62|106"),
    ("deux unités qui se contredisent", "H", 44.0, """
M. D. 44 ans
Glycémie      1,62 g/L  (0,70 - 1,10)     3,99 mmol/L  (3,9 - 6,1)
"""),
    ("marques contraires à l'intervalle", "F", 37.0, """
Mme V. 37 ans
Potassium   3,1 H  mmol/L   3,5 - 5,0
Sodium      149 ↓  mmol/L   136 - 145
Calcium     2,70 ↑ mmol/L   2,20 - 2,55
""", "calcium|2,70|mmol/L|2.2|2.55"),
    ("marques avant la valeur et entre crochets", "H", 61.0, """
H 61 ans
CRP :            ** 148 mg/L     [ < 5 ]
LDH :            * 612 UI/L      [ 125 - 220 ]
Albumine :       28 (B) g/L      [ 35 - 50 ]
Bilirubine totale : 19 µmol/L    [ 3 - 21 ]
""", "crp|148|mg/L||5", "ldh|612|UI/L|125|220", "albumine|28|g/L|35|50", "bilirubine_totale|19|µmol/L|3|21"),
    ("urines puis sang, puis titre vague", "F", 55.0, """
Mme K. 55 ans
BIOCHIMIE URINAIRE (échantillon)
Sodium            45     mmol/L
Potassium         62     mmol/L    25 - 125
Protéines         1,8    g/L       < 0,15
BIOCHIMIE SANGUINE
Sodium            124    mmol/L    136 - 145
Potassium         2,4    mmol/L    3,5 - 5,0
""", "urine - |45|mmol/L||", "urine - |62|mmol/L|25|125", "urine - |1,8|g/L||0.15", "sodium|124|mmol/L|136|145",
     "potassium|2,4|mmol/L|3.5|5"),
    ("après les urines un titre qui ne dit rien", "F", 55.0, """
Mme K. 55 ans
EXAMEN CYTOBACTERIOLOGIQUE DES URINES
Leucocytes        120 000   /mL     < 10 000
CHIMIE
Potassium         62     mmol/L    25 - 125
""", "?urine - |120000|/mL||10000"),
    ("ionogramme urinaire dit par le nom seul", "H", 48.0, """
H 48 ans
Natriurèse : 20 mmol/L
Sodium urinaire : 20 mmol/L (40 - 220)
Créatinine (urines) : 9,1 mmol/L (2,5 - 19)
Glucose LCR : 2,1 mmol/L (2,2 - 3,9)
Sodium : 131 mmol/L (136 - 145)
""", "?urine - |20|mmol/L||", "urine - |20|mmol/L|40|220", "urine - |9,1|mmol/L|2.5|19", "lcr - |2,1|mmol/L|2.2|3.9",
     "sodium|131|mmol/L|136|145"),
    ("liquide articulaire et liquide de drain", "H", 66.0, """
H 66 ans
LIQUIDE ARTICULAIRE - genou droit
Leucocytes      48 000   /mm3
Glucose         0,9      mmol/L
LIQUIDE DE DRAIN
Potassium       9,8      mmol/L
Créatinine      1 200    µmol/L
SANG
Potassium       4,1      mmol/L    3,5 - 5,0
""", "autre - |48000|/mm3||", "autre - |0,9|mmol/L||", "autre - |9,8|mmol/L||", "autre - |1200|µmol/L||",
     "potassium|4,1|mmol/L|3.5|5"),
    ("gaz veineux puis ionogramme", "F", 80.0, """
Femme 80 ans
GAZ DU SANG VEINEUX
pH                7,21       7,32 - 7,42
pCO2              68   mmHg  41 - 51
pO2               31   mmHg
Bicarbonates      26,2 mmol/L  23 - 27
IONOGRAMME SANGUIN
Potassium         5,9  mmol/L  3,5 - 5,0
""", "autre - |7,21||7.32|7.42", "autre - |68|mmHg|41|51", "?autre - |31|mmHg||", "?autre - |26,2|mmol/L|23|27",
     "potassium|5,9|mmol/L|3.5|5"),
    ("gaz artériels en kPa", "H", 58.0, """
Homme de 58 ans sous O2 3 L/min
Gazométrie artérielle
pH : 7,49 (7,38 - 7,42)
PaCO2 : 3,9 kPa (4,7 - 6,0)
PaO2 : 7,1 kPa (10,6 - 13,3)
HCO3- : 22 mmol/L (22 - 26)
Saturation en O2 : 87 % (94 - 98)
""", "ph|7,49||7.38|7.42", "paco2|3,9|kPa|4.7|6", "pao2|7,1|kPa|10.6|13.3", "hco3_art|22|mmol/L|22|26", "sao2|87|%|94|98"),
    ("noms à chiffres et voisins trompeurs", "F", 62.0, """
Mme O. 62 ans
CA 125                     41     U/mL      < 35
Ca                         2,31   mmol/L    2,20 - 2,55
Vitamine B12               158    ng/L      200 - 900
T4 libre (3ème génération) 9,8    pmol/L    12 - 22
VS 1ère heure              44     mm        < 20
VS 2ème heure              80     mm
Protéine C                 88     %         70 - 130
Potassium (K+)             4,4    mmol/L    3,5 - 5,0
Vitamine K                 0,8    µg/L      0,1 - 2,2
""", "ca125|41|U/mL||35", "calcium|2,31|mmol/L|2.2|2.55", "vitamine_b12|158|ng/L|200|900", "t4l|9,8|pmol/L|12|22", "vs|44|mm/h||20",
     "-|88|%|70|130", "potassium|4,4|mmol/L|3.5|5", "-|0,8|µg/L|0.1|2.2"),
    ("clairances et DFG", "H", 74.0, """
M. S. 74 ans - 68 kg
Créatinine enzymatique : 152 µmol/L (59 - 104)
Clairance de la créatinine (Cockcroft) : 36 mL/min (> 60)
Débit de filtration glomérulaire (CKD-EPI) : 38 mL/min/1,73 m² (> 60)
""", "creatinine|152|µmol/L|59|104", "?clairance_cg|36|mL/min|60|", "dfg|38|mL/min/1,73 m²|60|"),
    ("intervalles par sexe entre parenthèses", "F", 26.0, """
Sexe : Féminin     Age : 26 ans
Hémoglobine : 11,4 g/dL (Homme : 13,0 à 17,0 - Femme : 12,0 à 16,0)
Ferritine : 8 ng/mL (Homme : 30 à 400 - Femme : 15 à 150)
Acide urique : 360 µmol/L (F : < 340 ; H : < 420)
""", "hb|11,4|g/dL|12|16", "ferritine|8|ng/mL|15|150", "acide_urique|360|µmol/L||340"),
    ("intervalles par sexe, sexe inconnu", None, None, """
Dossier 5544 (identité en cours de vérification)
Hémoglobine : 12,4 g/dL (Homme : 13,0 à 17,0 ; Femme : 12,0 à 16,0)
Sodium : 150 mmol/L (136 - 145)
""", "hb|12,4|g/dL||", "sodium|150|mmol/L|136|145"),
    ("patient dit de deux façons", None, 40.0, """
Sexe : M       Mme DUPONT, patiente de 40 ans, sexe F
Hémoglobine : 12,4 g/dL (H : 13,0 - 17,0 ; F : 12,0 - 16,0)
""", "hb|12,4|g/dL||"),
    ("enfant d'âge donné par les dates", "H", 7.0, """
Enfant PETIT Leo   Né le 14/03/2034   Sexe : M   Prélèvement du 02/05/2041
Hémoglobine     10,9 g/dL    2-5 ans : 11,0 - 14,0    6-11 ans : 11,5 - 15,5   adulte : 13,0 - 17,0
PAL             240 UI/L     1-9 ans : 142 - 335      10-14 ans : 129 - 417
""", "hb|10,9|g/dL|11.5|15.5", "pal|240|UI/L|142|335"),
    ("nourrisson en mois", "F", 0.33, """
Nourrisson, fille, 4 mois
                  0 - 3 mois     3 - 12 mois    1 - 3 ans
Hémoglobine       92 g/L         95 - 130       105 - 135       110 - 140
""", "hb|92|g/L|105|135"),
    ("nourrisson, colonnes à leur place", "F", 0.33, """
Nourrisson, fille, 4 mois
                               0 - 3 mois      3 - 12 mois     1 - 3 ans
Hémoglobine       92 g/L       95 - 130        105 - 135       110 - 140
Potassium         5,3 mmol/L   3,9 - 6,2       3,7 - 5,6       3,5 - 5,1
""", "hb|92|g/L|105|135", "potassium|5,3|mmol/L|3.7|5.6"),
    ("grossesse au troisième trimestre", "F", 31.0, """
Mme A., 31 ans, enceinte de 32 SA
                   Résultat        1er trimestre   2e trimestre   3e trimestre
TSH                3,3 mUI/L       0,1 - 2,5       0,2 - 3,0      0,3 - 3,2
Hémoglobine        10,2 g/dL       11,0 - 14,0     10,5 - 14,0    10,5 - 14,0
""", "tsh|3,3|mUI/L|0.3|3.2", "hb|10,2|g/dL|10.5|14"),
    ("valeurs et intervalles sur les lignes suivantes", "H", 52.0, """
Homme 52 ans

Potassium
6,6 H
mmol/L
3,5 à 5,0

Troponine T hs
Electrochimiluminescence
< 3
ng/L
inférieur à 14

Cholestérol total
5,9 mmol/L
Valeur souhaitable : < 5,2
""", "potassium|6,6|mmol/L|3.5|5", "troponine|<3|ng/L||14", "?cholesterol|5,9|mmol/L||", "?cholesterol|5,9|mmol/L||5.2"),
    ("noms en bloc, valeurs en bloc", "F", 63.0, """
Mme N. 63 ans
Sodium
Potassium
141 mmol/L
5,8 mmol/L
"""),
    ("valeur censurée et borne seule", "F", 30.0, """
F 30 ans
CRP              < 1,0   mg/L     < 5,0
ASAT                              < 35      UI/L
TSH : < 0,01 mUI/L (0,4 à 4,0)
hCG : supérieure à 10 000 UI/L
Ferritine        (15 - 150)
""", "crp|<1,0|mg/L||5", "tsh|<0,01|mUI/L|0.4|4", "?hcg|>10000|UI/L||"),
    ("résultats non rendus", "H", 39.0, """
H 39 ans
Potassium          Hémolysé            mmol/L   3,5 - 5,0
INR                tube coagulé
Calcium            non rendu (volume insuffisant 0,2 mL)    2,20 - 2,55
Magnésium          en attente          mmol/L   0,70 - 1,05
Sodium             140                 mmol/L   136 - 145
""", "sodium|140|mmol/L|136|145"),
    ("bruit de numérisation", "H", 39.0, """
H 39 ans
Potassium          4,S      mmol/L   3,5 - 5,0
Sodium             l39      mmol/L   136 - 145
Chlorures          1O2      mmol/L   98 - 107
Calcium            2.3 1    mmol/L   2,20 - 2,55
Glucose            5;4      mmol/L   3,9 - 6,1
Créatinine         8 2      µmol/L   62 - 106
Urée               5,1      mmol/L   2,5 - 7,S
Plaquettes         21O      G/L      150 - 400
Magnesiurn         0,80     mmol/L   0,70 - 1,05
"""),
    ("point : décimale ou milliers", "F", 45.0, """
Mme Q. 45 ans
Ferritine        1.250  ng/mL     15 - 150
Plaquettes       210.000 /mm3     150.000 - 400.000
TSH              2.135  mUI/L     0.270 - 4.200
Leucocytes       7.250  /mm3      4.000 - 10.000
""", "plaquettes|210000|/mm3|150000|400000", "tsh|2,135|mUI/L|0.27|4.2", "leucocytes|7250|/mm3|4000|10000"),
    ("CSV à points-virgules avec code et date", "F", 72.0, """
patient;sexe;F;age;72
code;analyse;valeur;unite;norme;date
K;Potassium;2,6;mmol/L;3,5 - 5,0;04/05/2041
NA;Sodium;133;mmol/L;136 - 145;04/05/2041
HB;Hémoglobine;10,2;g/dL;12,0 - 16,0;04/05/2041
KU;Potassium urinaire;54;mmol/L;25 - 125;04/05/2041
""", "potassium|2,6|mmol/L|3.5|5", "sodium|133|mmol/L|136|145", "hb|10,2|g/dL|12|16", "urine - |54|mmol/L|25|125"),
    ("CSV de deux dates", "H", 50.0, """
#sexe;H;age;50 ans
date;examen;resultat;unite;min;max
01/02/2040;Créatinine;88;µmol/L;62;106
09/09/2041;Créatinine;402;µmol/L;62;106
01/02/2040;Kaliémie;4,4;mmol/L;3,5;5,0
09/09/2041;Kaliémie;6,2;mmol/L;3,5;5,0
""", "creatinine|402|µmol/L|62|106", "potassium|6,2|mmol/L|3.5|5"),
    ("CSV à guillemets", "F", 35.0, """
"Patient","F","35 ans"
"Analyse","Résultat","Unité","Référence","Remarque"
"Leucocytes","12,4","G/L","4,0-10,0","hémolyse 1+, contrôlé 2 fois"
"Plaquettes","96","G/L","150-400",""
"CRP","<0,6","mg/L","<5",""
""", "leucocytes|12,4|G/L|4|10", "plaquettes|96|G/L|150|400", "crp|<0,6|mg/L||5"),
    ("guillemets, lignes sans titres", "H", 61.0, """
Patient : homme, 61 ans
"Natrémie";"VR : 128 mmol/L"
"Kaliémie","5,9","mmol/L","3,5 - 5,0"
"Calcémie" , "2,71" , "mmol/L" , "2,20 - 2,55"
"Hémoglobine"\t"9,4"\tg/dL\t"13,0 - 17,0"
"Protéine ""C"" réactive";48;"mg/L";"< 5"
"CRP","48","mg/L","< 5"
"Ferritine",88,4,"µg/L"
""", "?sodium|128|mmol/L||", "potassium|5,9|mmol/L|3.5|5", "calcium|2,71|mmol/L|2.2|2.55", "hb|9,4|g/dL|13|17", "crp|48|mg/L||5",
     "?ferritine|88,4|µg/L||"),
    ("barres et antériorité au milieu", "H", 66.0, """
Patient | H | 66 ans
Analyse | Résultat | Antérieur | Unité | Normes
Hémoglobine | 7,9 | 11,0 | g/dL | 13,0 - 17,0
VGM | 71 | 80 | fL | 80 - 98
Ferritine | - | 12 | µg/L | 30 - 400
INR | 6,4 | 2,5 | |
""", "hb|7,9|g/dL|13|17", "vgm|71|fL|80|98", "inr|6,4|||"),
    ("tabulations, norme avant la valeur", "F", 58.0, "\nFemme de 58 ans\nParamètre\tNorme\tUnité\tRésultat\nNatrémie\t136 - 145\tmmol/L\t119\n"
     "Calcémie\t2,20 - 2,55\tmmol/L\t3,21\nTriglycérides\t< 1,70\tmmol/L\t1,20\n",
     "sodium|119|mmol/L|136|145", "calcium|3,21|mmol/L|2.2|2.55", "triglycerides|1,20|mmol/L||1.7"),
    ("objectifs et zones ne sont pas des intervalles", "H", 69.0, """
H 69 ans sous AVK
INR                    3,4
  Zone thérapeutique : 2,0 - 3,0
HbA1c                  8,2 %           4,0 - 6,0
  Objectif : < 7,0 %
LDL-cholestérol        1,02 g/L
  Cible selon le risque : < 0,55 g/L
""", "inr|3,4|||", "hba1c|8,2|%|4|6", "ldl|1,02|g/L||"),
    ("en-tête, adresse, téléphones et pages", "H", 48.0, """
SELAS BIOREGION - 14 avenue du Sodium - 00140 VILLE   Tel 02 00 00 00 40
RPPS 10003521000    FINESS 140 000 000    Page 2/3
M. C. (48 ans)   Poids : 82 kg   Taille : 178 cm   IMC : 25,9 kg/m²
Diurèse : 1 450 mL/24 h      Température : 37,2 °C
HEMATOLOGIE (suite)
Hémoglobine              15,1   g/dL      13,0 - 17,0
Page 3/3
""", "hb|15,1|g/dL|13|17"),
    ("résumé en tête puis détail, mêmes valeurs", "F", 49.0, """
Mme I., 49 ans
RESULTATS ANORMAUX : Potassium 2,9 mmol/L
BIOCHIMIE
Potassium       2,9    mmol/L    3,5 - 5,0
Sodium          140    mmol/L    136 - 145
""", "potassium|2,9|mmol/L|3.5|5", "sodium|140|mmol/L|136|145"),
    ("deux valeurs différentes du même analyte", "F", 49.0, """
Mme I., 49 ans
Potassium       2,9    mmol/L    3,5 - 5,0
Sodium          140    mmol/L    136 - 145
Kaliémie        4,9    mmol/L    3,5 - 5,0
""", "sodium|140|mmol/L|136|145"),
    ("section de résultats antérieurs", "H", 77.0, """
H 77 ans
RESULTATS ANTERIEURS DU 03/04/2040
Potassium       6,4    mmol/L    3,5 - 5,0
RESULTATS DU JOUR - BIOCHIMIE SANGUINE
Potassium       4,4    mmol/L    3,5 - 5,0
Créatinine      98     µmol/L    62 - 106
""", "potassium|4,4|mmol/L|3.5|5", "creatinine|98|µmol/L|62|106"),
    ("lettre", "H", 71.0, """
Cher ami,
Je vous adresse Monsieur P., 71 ans, pour une anémie. L'hémoglobine est à 6,8 g/dL avec un VGM à 70 fL ; la ferritine est à 5 µg/L.
La kaliémie était à 6,1 mmol/L en mars, elle est revenue à 4,4 mmol/L. La créatinine passe de 90 à 180 µmol/L.
Objectif de LDL : 0,70 g/L. Le potassium urinaire est à 40 mmol/L.
""", "?hb|6,8|g/dL||", "?vgm|70|fL||", "?ferritine|5|µg/L||"),
    ("note", "F", 88.0, """
F 88 ans, chute. Na 121 mmol/L, K 5,2 mmol/L (4,4 le 02/03), créat 150 µmol/L, CRP 88 mg/L, SpO2 92 %, T 38,2.
ECBU : leucocytes 250 000 /mL. Perfusion NaCl 1 L, Kcl 2 g, fer 100 mg.
""", "?sodium|121|mmol/L||", "?potassium|5,2|mmol/L||", "?creatinine|150|µmol/L||", "?crp|88|mg/L||"),
    ("unités de mille et un façons", "H", 40.0, """
H 40 ans
Hémoglobine     149 g/l            130 - 170
Leucocytes      5,9 x 10^9/L       4,0 - 10,0
Hématies        4,8 Téra/L         4,5 - 5,9
Plaquettes      187 Giga/l         150 - 400
ALAT            31 U/L             < 50
TSH             1,9 mU/L           0,4 - 4,0
Fer             14 micromol/L      11 - 30
Créatinine      84 umol/l          62 - 106
DFG             88 ml/mn/1,73m2    > 60
Osmolalité      289 mOsmol/kg      280 - 303
""", "hb|149|g/L|130|170", "leucocytes|5,9|G/L|4|10", "hematies|4,8|T/L|4.5|5.9", "plaquettes|187|G/L|150|400", "alat|31|UI/L||50",
     "tsh|1,9|mUI/L|0.4|4", "fer|14|µmol/L|11|30", "creatinine|84|µmol/L|62|106", "dfg|88|mL/min/1,73 m²|60|",
     "osmolalite|289|mmol/kg|280|303"),
    ("unités inconnues", "H", 40.0, """
H 40 ans
Potassium       4,1 zorg/L         3,5 - 5,0
Lipoprotéine (a)  80 nmol/L        < 75
Lactate         2,1 mmol/24h       0,5 - 2,0
""", "lpa|80|nmol/L||75"),
    ("unité de la section", "F", 33.0, """
F 33 ans
IONOGRAMME PLASMATIQUE (résultats en mmol/L)
Sodium            139       136 - 145
Potassium         5,4       3,5 - 5,0
HEMOSTASE
INR               1,02      0,80 - 1,20
""", "sodium|139|mmol/L|136|145", "potassium|5,4|mmol/L|3.5|5", "inr|1,02||0.8|1.2"),
    ("intervalle dans une autre unité, bornes en mots", "F", 52.0, """
Mme W. 52 ans
Hémoglobine : 7,2 g/dL (120 à 160 g/L)
Glycémie : 0,45 g/L (entre 3,9 et 6,1 mmol/L)
CRP : 12 mg/L (normale inférieure ou égale à 5)
HDL : 1,2 mmol/L (supérieur à 1,3)
Excès de base : -9,5 mmol/L (de -2,0 à +2,0)
""", "hb|7,2|g/dL|120|160 g/L", "glucose|0,45|g/L|3.9|6.1 mmol/L", "crp|12|mg/L||5", "hdl|1,2|mmol/L|1.3|", "be|-9,5|mmol/L|-2|2"),
    ("analytes côte à côte et hors tables", "H", 62.0, """
H 62 ans
Na   139 mmol/L (136-145)     K    3,1 mmol/L (3,5-5,0)     Cl   99 mmol/L (98-107)
Ca   2,41 mmol/L (2,20-2,55)  Mg   0,52 mmol/L (0,70-1,05)
Aldostérone : 61 pg/mL (30 - 160)
Rénine : 12 mUI/L (4,4 - 46,1)
""", "sodium|139|mmol/L|136|145", "potassium|3,1|mmol/L|3.5|5", "chlore|99|mmol/L|98|107", "calcium|2,41|mmol/L|2.2|2.55",
     "magnesium|0,52|mmol/L|0.7|1.05", "?-|61|pg/mL|30|160", "?-|12|mUI/L|4.4|46.1"),
    ("avant et après dialyse", "F", 67.0, """
Mme X. 67 ans
                  Avant      Après     Unité     Normes
Potassium         6,6        3,6       mmol/L    3,5 - 5,0
Créatinine        820        310       µmol/L    45 - 84
""", "?potassium|6,6|mmol/L|3.5|5", "?potassium|3,6|mmol/L|3.5|5", "?creatinine|820|µmol/L|45|84", "?creatinine|310|µmol/L|45|84"),
    ("majuscules, pas d'accents", "H", 59.0, """
MONSIEUR F. 59 ANS
KALIEMIE : 2,5 MMOL/L (N : 3,5 A 5,0)
PROTEINE C REACTIVE : 210 MG/L (INF A 5)
POLYNUCLEAIRES NEUTROPHILES : 0,3 G/L (1,8 A 7,5)
GAMMA GT : 210 UI/L (JUSQU'A 60)
""", "potassium|2,5|mmol/L|3.5|5", "crp|210|mg/L||5", "pnn|0,3|G/L|1.8|7.5", "ggt|210|UI/L||60"),
    # A second set, written when the first was read right.
    ("biogroup", "F",54.0,"""
LABORATOIRE BIOGROUPE FICTIF
Mme LAMBERT Sylvie, née le 12/04/1987 (54 ans)
                                                                     Valeurs de référence        Antériorités
HÉMATOLOGIE                                                                                      12/01/2041
NUMÉRATION GLOBULAIRE
(Cytométrie en flux - Sysmex XN)
Hématies                            3,61   10^12/L                   (3,80 - 5,90)               3,90
Hémoglobine                         9,8    g/dL                      (11,5 - 17,5)               11,2
Hématocrite                         30,1   %                         (34,0 - 53,0)               34,2
VGM                                 83,4   fL                        (76,0 - 96,0)
Leucocytes                          6,10   10^9/L                    (3,80 - 11,00)              5,90
Polynucléaires neutrophiles         61,2 % soit 3,73 10^9/L          (1,40 - 7,70)               3,50
Plaquettes                          512    10^9/L                    (150 - 445)                 420
""", "hematies|3,61|T/L|3.8|5.9", "hb|9,8|g/dL|11.5|17.5", "hematocrite|30,1|%|34|53", "vgm|83,4|fL|76|96",
     "leucocytes|6,10|G/L|3.8|11", "pnn|3,73|G/L|1.4|7.7", "plaquettes|512|G/L|150|445"),
    ("hopital", "H",63.0,"""
CENTRE HOSPITALIER FICTIF  -  Service : Cardiologie   UF 2214
Patient : DUVAL Marc   Sexe : M   Né le 01/02/1978   IPP 00012345
Prélèvement du 05/03/2041 à 06:10
Examen                      Résultat   Unité      Intervalle réf.    Antécédent 04/03/2041
Sodium                      129  ↓     mmol/L     [136 - 145]        131
Potassium                   5,9  ↑     mmol/L     [3,5 - 5,1]        5,2
Créatinine                  198  ↑     µmol/L     [64 - 104]         170
Troponine I hs              1 250 ↑    ng/L       [< 34]             86
NT-proBNP                   8 400 ↑    ng/L       [< 300]            6 200
CRP                         12         mg/L       [< 5]
""", "sodium|129|mmol/L|136|145", "potassium|5,9|mmol/L|3.5|5.1", "creatinine|198|µmol/L|64|104", "?troponine|1250|ng/L||34",
     "nt_probnp|8400|ng/L||300", "crp|12|mg/L||5"),
    ("texte simple", "F",None,"""
Patiente. Bilan du jour :
- Natrémie : 118 mmol/L [N: 135-145]
- Kaliémie : 3,0 mmol/L [N: 3,5-5]
- Chlore : 82 mmol/L [N: 95-107]
- Calcémie corrigée : 2,95 mmol/L [N: 2,2-2,6]
- Glycémie à jeun : 7,2 mmol/L [N: 3,9-5,5]
- Clairance (MDRD) : 58 mL/min
- HbA1c : 7,4 % [N: 4-6] (57 mmol/mol)
""", "sodium|118|mmol/L|135|145", "potassium|3,0|mmol/L|3.5|5", "chlore|82|mmol/L|95|107",
     "calcium_corrige|2,95|mmol/L|2.2|2.6", "glucose|7,2|mmol/L|3.9|5.5", "?hba1c|7,4|%|4|6"),
    ("pediatrie", "H",0.025,"""
Nouveau-né de sexe masculin, 9 jours
Bilirubine totale : 310 µmol/L (N < 200)
Bilirubine conjuguée : 12 µmol/L (N < 10)
Hémoglobine : 152 g/L (134 - 198)
Glycémie capillaire : 2,1 mmol/L
""", "bilirubine_totale|310|µmol/L||200", "bilirubine_conjuguee|12|µmol/L||10", "hb|152|g/L|134|198"),
    ("electrophorese", "F",77.0,"""
Mme B. 77 ans
Protides totaux                  82,0 g/L      (60,0 - 80,0)
Electrophorèse des protéines
Albumine            41,2 %       33,8 g/L      (36,0 - 47,0)
Alpha 1 globulines   5,1 %        4,2 g/L      (1,9 - 3,5)
Gamma globulines    29,0 %       23,8 g/L      (7,0 - 14,0)
""", "proteines|82,0|g/L|60|80", "?albumine|33,8|g/L|36|47", "?alpha1_globulines|4,2|g/L|1.9|3.5",
     "?gamma_globulines|23,8|g/L|7|14", "?-|4,2|g/L|1.9|3.5"),
    ("coag", "H",66.0,"""
HEMOSTASE - H 66 ans
Taux de prothrombine (TP)   : 24 %      (70 à 100)
INR                         : 4,8
TCA malade                  : 58 s
TCA témoin                  : 32 s
Rapport TCA M/T             : 1,81      (< 1,20)
Fibrinogène                 : 6,2 g/L   (2 à 4)
D-dimères                   : 2 150 ng/mL FEU (< 500)
Antithrombine               : 71 %      (80 - 120)
""", "tp|24|%|70|100", "inr|4,8|||", "?tca_s|58|s||", "?tca|1,81|||1.2", "?-|1,81|||1.2", "fibrinogene|6,2|g/L|2|4", "ddimeres|2150|ng/mL||500",
     "antithrombine|71|%|80|120"),
    ("urine et sang ligne", "H",50.0,"""
H 50 ans
Na sang : 140 mmol/L (136 - 145)    Na urines : 88 mmol/L
Créatininémie 96 µmol/L (62 - 106) ; créatininurie 8,8 mmol/L
Protéinurie : 0,42 g/24h (< 0,15)
Albuminurie/créatininurie : 35 mg/g (< 30)
""", "?sodium|140|mmol/L|136|145", "?creatinine|96|µmol/L|62|106", "?urine - |88|mmol/L||", "urine - |0,42|g/24h||0.15",
     "urine - |35|mg/g||30"),
    ("cellules vides", "F",81.0,"""
Analyse\tRésultat\tUnité\tRéférence\tAntérieur
Femme 81 ans\t\t\t\t
Potassium\t\tmmol/L\t3,5 - 5,0\t4,4
Sodium\t151\tmmol/L\t136 - 145\t
Calcium\t1,71\tmmol/L\t2,20 - 2,55\t2,01
Vitamine D\t< 4\tng/mL\t> 30\t12
""", "sodium|151|mmol/L|136|145", "calcium|1,71|mmol/L|2.2|2.55", "vitamine_d|<4|ng/mL|30|"),
    ("lignes serrees", "H",45.0,"""
Homme de 45 ans
Leucocytes : 14,2 G/L (4,0-10,0) H
Neutrophiles : 84,0 % - 11,93 G/L (1,8-7,5) H
Lymphocytes : 9,0 % - 1,28 G/L (1,0-4,0)
CRP : 156,0 mg/L (0,0-5,0) H
Procalcitonine : 3,20 ng/mL (0,00-0,50) H
Lactates : 4,4 mmol/L (0,5-2,2) H
""", "leucocytes|14,2|G/L|4|10", "pnn|11,93|G/L|1.8|7.5", "lymphocytes|1,28|G/L|1|4", "crp|156,0|mg/L|0|5",
     "pct|3,20|ng/mL|0|0.5", "lactate|4,4|mmol/L|0.5|2.2"),
    ("vertical sans intervalle", "F",39.0,"""
Mme J., 39 ans

TSH ultrasensible
0,02 mUI/L
Normales : 0,35 - 4,94
Résultat antérieur du 02/02/2041 : 1,20

Ferritine
3 µg/L
Normales : 15 - 150

Vitamine B12
< 100 ng/L
Normales : 200 - 900
""", "tsh|0,02|mUI/L|0.35|4.94", "ferritine|3|µg/L|15|150", "vitamine_b12|<100|ng/L|200|900"),
    ("csv excel", "H",58.0,"""
Nom;Sexe;Age;Analyse;Valeur;Unité;Mini;Maxi
X;H;58;Hémoglobine;62;g/L;130;170
X;H;58;Plaquettes;18;G/L;150;400
X;H;58;Lymphocytes %;88;%;20;40
X;H;58;Lymphocytes;95,2;G/L;1,0;4,0
""", "hb|62|g/L|130|170", "plaquettes|18|G/L|150|400", "?-|88|%|20|40", "lymphocytes|95,2|G/L|1|4"),
    ("pieges", "F",60.0,"""
Mme Z. 60 ans - Traitement : lithium 400 mg x2, fer 80 mg, potassium 600 mg
Numéro d'ordre K 4512
Sodium corrigé : 142 mmol/L (136 - 145)
Calcium ionisé : 0,78 mmol/L (1,15 - 1,30)
Fer hépatique : 45 µmol/g (< 36)
HCG urinaire : négatif
Lithiémie : 1,62 mmol/L (0,50 - 0,80)
Mg : 0,38 mmol/L (0,70 - 1,05)
CK-MB : 8 µg/L (< 5)   CK : 310 UI/L (< 170)
""", "-|142|mmol/L|136|145", "calcium_ionise|0,78|mmol/L|1.15|1.3", "?- |45|µmol/g||36", "?autre - |45|µmol/g||36",
     "lithium|1,62|mmol/L|0.5|0.8", "magnesium|0,38|mmol/L|0.7|1.05", "?ck_mb|8|µg/L||5", "?ck|310|UI/L||170"),
    ("normes à barre ou point-virgule", "F", 52.0, """
F 52 ans
Natrémie : 128 mmol/L (N 136 / 145)
Kaliémie : 3,1 mmol/L  N : 3,5 ; 5,0
Plaquettes : 28 G/L (N 150 ; 450)
Créatinine : 71 µmol/L (VR : 45 / 84)
Chlore : 101 ; 104
""", "sodium|128|mmol/L|136|145", "potassium|3,1|mmol/L|3.5|5", "plaquettes|28|G/L|150|450", "creatinine|71|µmol/L|45|84"),
]  # fmt: skip
